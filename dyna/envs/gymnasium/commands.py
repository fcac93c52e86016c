"""Commands to actions: how text becomes what an action space of Gymnasium holds.

Named actions are listed to the agent; a text space takes the command itself; any other space needs
a function. What stands for no action never reaches the environment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import gymnasium
import numpy as np
from gymnasium import spaces

MAX_NUMBERED = 1000
"""Actions of a discrete space that are offered as numbers where nobody named them."""


class UnknownCommandError(ValueError):
    """A command that stands for no action; what an `actions` function raises, as any ValueError."""


class Parse(Protocol):
    """A command to an action. Raises `ValueError` for text that stands for none."""

    def __call__(self, command: str, *, env: gymnasium.Env[Any, Any]) -> Any: ...


class Commands:
    """The commands of one environment.

    `actions` is a list of names in the order of a discrete space, names with their actions, a
    function, or None for what the space itself says.
    """

    def __init__(self, space: gymnasium.Space[Any], *, actions: object, env_id: str) -> None:
        self.space = space
        self._parse: Parse | None = None
        named = self._named(space, actions=actions, env_id=env_id)
        self._actions = named or {}
        self.names: tuple[str, ...] | None = None if named is None else tuple(named)
        """None where a command is free text."""

    def action(self, command: str, *, env: gymnasium.Env[Any, Any]) -> Any:
        """The action that a command stands for; raises `ValueError` if it stands for none."""
        if self._parse is not None:
            action = self._parse(command, env=env)
        elif self.names is None:
            action = command
        else:
            name = " ".join(command.split())
            if name not in self._actions:
                raise UnknownCommandError("That is not one of the commands.")
            return self._actions[name]
        if not self.space.contains(action):
            raise UnknownCommandError("That is not understood.")
        return action

    def possible(self, info: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The commands that can change something now, where `info` has an `action_mask`."""
        mask = info.get("action_mask")
        if self.names is None or mask is None or not isinstance(self.space, spaces.Discrete):
            return self.names
        start = int(self.space.start)
        flags = [bool(flag) for flag in np.asarray(mask).ravel()]
        return tuple(name for name in self.names if flags[int(self._actions[name]) - start])

    def _named(
        self, space: gymnasium.Space[Any], *, actions: object, env_id: str
    ) -> dict[str, Any] | None:
        """Names with their actions; None for free text, which `self._parse` may read."""
        if callable(actions):
            self._parse = cast(Parse, actions)
            return None
        if isinstance(actions, Mapping):
            given = cast(Mapping[Any, Any], actions)
            return _checked({str(name): given[name] for name in given}, space=space, env_id=env_id)
        if isinstance(actions, Sequence) and not isinstance(actions, str | bytes):
            return _in_order(cast(Sequence[Any], actions), space=space, env_id=env_id)
        if actions is not None:
            raise TypeError(
                "actions must be a list of names, names with their actions, a function, or "
                f"`module:Attr` for one of them; got {actions!r}"
            )
        if isinstance(space, spaces.Text):
            return None
        if isinstance(space, spaces.Discrete) and int(space.n) <= MAX_NUMBERED:
            start = int(space.start)
            return {str(number): number for number in range(start, start + int(space.n))}
        raise ValueError(
            f"the actions of {env_id!r} are {space}, which text cannot name by itself: set "
            "`actions` to names with their actions, or to `module:Attr`, a function "
            "(command, *, env) -> action that raises ValueError for what it does not understand"
        )


def _in_order(names: Sequence[Any], *, space: gymnasium.Space[Any], env_id: str) -> dict[str, Any]:
    if not isinstance(space, spaces.Discrete):
        raise ValueError(
            f"actions of {env_id!r} is a list of names, but its action space is {space}, not "
            "Discrete: give each name its action, as {name: action}"
        )
    if len(names) != int(space.n):
        raise ValueError(
            f"actions of {env_id!r} must name all {int(space.n)} actions, got {len(names)} names"
        )
    start = int(space.start)
    return _checked(
        {str(name): start + index for index, name in enumerate(names)}, space=space, env_id=env_id
    )


def _checked(
    actions: Mapping[str, Any], *, space: gymnasium.Space[Any], env_id: str
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in actions.items():
        tidy = " ".join(name.split())
        if not tidy or tidy in found:
            raise ValueError(f"actions of {env_id!r} has an empty or doubled name: {name!r}")
        action = value
        if isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary):
            action = np.asarray(value, dtype=space.dtype)
        if not space.contains(action):
            raise ValueError(
                f"actions of {env_id!r}: {name!r} stands for {value!r}, which is not in {space}"
            )
        found[tidy] = action
    if not found:
        raise ValueError(f"actions of {env_id!r} must name one action at least, got none")
    return found


__all__ = ["Commands", "Parse", "UnknownCommandError"]
