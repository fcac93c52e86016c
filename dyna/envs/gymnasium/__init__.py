"""The door to Gymnasium, both ways: theirs as a world of ours, ours as an `Env` of theirs."""

from dyna.envs.gymnasium.seen import Describe, Seen
from dyna.envs.gymnasium.text_env import AnyText, TextEnv, register
from dyna.envs.gymnasium.world import GymnasiumWorld

__all__ = ["AnyText", "Describe", "GymnasiumWorld", "Seen", "TextEnv", "register"]
