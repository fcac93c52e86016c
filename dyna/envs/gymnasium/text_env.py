"""A world of ours, real or imagined, as a `gymnasium.Env` with text in and text out.

    from dyna.envs.gymnasium import TextEnv, register
    env = TextEnv(HouseholdWorld(), split="train")
    register(); env = gymnasium.make("dyna/World-v0", world="household", params={"max_turns": 30})

`terminated` and `truncated` stay apart as they are in ours; what text cannot say is in `info`.
"""
# pyright: reportUnknownMemberType=false, reportIncompatibleMethodOverride=false

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
from gymnasium import spaces

from dyna.envs.gymnasium.background import BACKGROUND
from dyna.plugins import build
from dyna.protocols import Closeable, Env, World
from dyna.types import Action, Outcome, Start, Task

ID = "dyna/World-v0"
MAX_LENGTH = 1_000_000
"""Characters that an observation or a command may have."""
_SAMPLE_LENGTH = 40
_PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "


class AnyText(spaces.Text):
    """All strings of up to `max_length` characters, of any script.

    Gymnasium's own `Text` holds the strings over a listed set of characters, which the text of a
    world does not keep to. Samples are short and printable.
    """

    def __init__(self, max_length: int = MAX_LENGTH, *, seed: int | None = None) -> None:
        super().__init__(max_length, min_length=0, charset=_PRINTABLE, seed=seed)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """`mask` and `probability` are as in `Text`; without them, up to 40 characters."""
        if mask is None and probability is None:
            length = int(self.np_random.integers(min(_SAMPLE_LENGTH, self.max_length) + 1))
            mask = (length, None)
        return super().sample(mask=mask, probability=probability)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyText) and other.max_length == self.max_length

    def __hash__(self) -> int:
        return hash((AnyText, self.max_length))

    def __repr__(self) -> str:
        return f"AnyText({self.max_length})"


class TextEnv(gymnasium.Env[str, str]):
    """Example: `TextEnv(HouseholdWorld(max_turns=30), split="train", num_tasks=100)`.

    `reset(seed=...)` draws the next task from the first `num_tasks` of the split, or from `tasks`;
    `reset(options={"task": id})` takes a task by its id, `options={"index": 3}` by its place.
    `max_turns` truncates episodes that the world lets go on (0: never). `step_timeout_s` bounds a
    reset or step of a world that gives way to others (a dream, a thread, a process), and
    `TimeoutError` is raised beyond it. `hidden_state=True` puts the world's privileged state into
    the `info` of a reset: for models of the world, not for agents.

    `info` holds `task`, `admissible` (None where the world lists none), `success`, `valid` and
    `stop` (None while the episode goes on), and what `confidence` a model had in its answer.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 - declared so by gymnasium.Env

    def __init__(
        self,
        world: World,
        *,
        split: str = "train",
        num_tasks: int = 100,
        tasks: Sequence[Task] = (),
        max_turns: int = 0,
        step_timeout_s: float = 0.0,
        hidden_state: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if max_turns < 0 or step_timeout_s < 0:
            raise ValueError(
                "max_turns and step_timeout_s must be >= 0 (0 for no limit), got "
                f"{max_turns} and {step_timeout_s}"
            )
        if render_mode not in (None, "ansi"):
            raise ValueError(f"render_mode must be None or 'ansi', got {render_mode!r}")
        self.world = world
        self.render_mode = render_mode
        self.observation_space = AnyText()
        self.action_space = AnyText()
        self._tasks = list(tasks) or list(world.tasks(split=split, num=num_tasks))
        if not self._tasks:
            raise ValueError(f"num_tasks must be >= 1, got {num_tasks}")
        self._by_id = {task.id: task for task in self._tasks}
        self._max_turns = max_turns
        self._timeout_s = step_timeout_s or None
        self._shows_hidden_state = hidden_state
        self._episode = _Episode(task=self._tasks[0])
        self._env: Env | None = None

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        task = self._choose(options or {})
        env = self._env = self._env or self.world.make()
        start = BACKGROUND.run(env.reset(task), timeout_s=self._timeout_s)
        self._episode = _Episode(task=task, transcript=[start.observation])
        return start.observation, self._start_info(start)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Raises `RuntimeError` when no episode is running."""
        episode = self._episode
        if self._env is None or not episode.transcript or episode.over:
            raise RuntimeError("this episode is over or never began; call reset before step")
        command = str(action)
        answer = self._env.step(Action(command=command))
        outcome = BACKGROUND.run(answer, timeout_s=self._timeout_s)
        episode.transcript += [f"> {command}", outcome.observation]
        episode.num_turns += 1
        is_last = bool(self._max_turns) and episode.num_turns >= self._max_turns
        truncated = not outcome.terminated and (outcome.stop is not None or is_last)
        episode.over = outcome.terminated or truncated
        info = self._info(outcome)
        return outcome.observation, outcome.reward, outcome.terminated, truncated, info

    def render(self) -> str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The transcript of the episode so far; None without `render_mode="ansi"`."""
        return "\n".join(self._episode.transcript) if self.render_mode == "ansi" else None

    def close(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            BACKGROUND.run(env.close(), timeout_s=self._timeout_s)

    def _choose(self, options: Mapping[str, Any]) -> Task:
        if unknown := sorted(options.keys() - {"task", "index"}):
            raise ValueError(f"reset knows the options `task` and `index`, got {unknown}")
        if "task" in options:
            if options["task"] not in self._by_id:
                raise ValueError(
                    f"there is no task {options['task']!r} among the {len(self._tasks)} of this env"
                )
            return self._by_id[options["task"]]
        index = options.get("index")
        if index is None:
            return self._tasks[int(self.np_random.integers(len(self._tasks)))]
        if not isinstance(index, int) or not 0 <= index < len(self._tasks):
            raise ValueError(f"option `index` must be in [0, {len(self._tasks)}), got {index!r}")
        return self._tasks[index]

    def _start_info(self, start: Start) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task": self._episode.task.id,
            "admissible": start.admissible,
            "success": False,
            "valid": None,
            "stop": None,
            "confidence": 1.0,
        }
        if self._shows_hidden_state:
            info["hidden_state"] = start.hidden_state
        return info

    def _info(self, outcome: Outcome) -> dict[str, Any]:
        stop = outcome.stop.value if outcome.stop else None
        return {
            "task": self._episode.task.id,
            "admissible": outcome.admissible,
            "success": outcome.success,
            "valid": outcome.valid,
            "stop": stop if stop or not self._episode.over else "step_limit",
            "confidence": outcome.confidence,
        }


@dataclass(slots=True, kw_only=True)
class _Episode:
    task: Task
    transcript: list[str] = field(default_factory=list[str])
    num_turns: int = 0
    over: bool = False


class _OwnedTextEnv(TextEnv):
    """A `TextEnv` that made its world, and closes it."""

    def close(self) -> None:
        super().close()
        if isinstance(self.world, Closeable):
            self.world.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    name: str
    params: dict[str, Any]


def make_text_env(
    *, world: str, params: Mapping[str, Any] | None = None, **options: Any
) -> TextEnv:
    """A `TextEnv` of a world by its name and parameters; `options` are those of `TextEnv`.

    Raises `PluginError` for a world that has no such name or parameter.
    """
    made: World = build("environments", _Named(name=world, params=dict(params or {})))
    return _OwnedTextEnv(made, **options)


def register() -> None:
    """Make `gymnasium.make("dyna/World-v0", world=..., params=...)` known; twice is fine.

    Gymnasium finds it without this call under `dyna.envs.gymnasium.registered:dyna/World-v0`.
    """
    if ID not in gymnasium.registry:
        gymnasium.register(id=ID, entry_point="dyna.envs.gymnasium.text_env:make_text_env")


__all__ = ["ID", "MAX_LENGTH", "AnyText", "TextEnv", "make_text_env", "register"]
