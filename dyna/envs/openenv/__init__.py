"""The door to OpenEnv, both ways: any server of theirs as a world, any world of ours as a server.

Neither importing this nor the modules it names needs the extra; making a world or a server does.
"""

from dyna.envs.openenv.server import make_app, serve
from dyna.envs.openenv.serving import Serving
from dyna.envs.openenv.world import OpenEnvWorld

__all__ = ["OpenEnvWorld", "Serving", "make_app", "serve"]
