"""Importing this module registers `dyna/World-v0`: Gymnasium's own way to name an id's module.

    gymnasium.make("dyna.envs.gymnasium.registered:dyna/World-v0", world="household")

It works in every process, whoever else called `register` there.
"""

from dyna.envs.gymnasium.text_env import register

register()
