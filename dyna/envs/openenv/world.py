"""Any environment behind an OpenEnv server as a world; the protocol's own client talks to it.

Each env holds one session, a websocket. A server that is gone or hangs fails the episode, within
the time limits below; the next reset opens another session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, cast
from urllib.parse import urlsplit

from dyna.envs.episode import EpisodeClock
from dyna.envs.extras import require
from dyna.envs.openenv.schema import Fields, choose_fields, in_words, pick, read_schema
from dyna.envs.openenv.session import Answer, RefusedActionError, Session, check_limits, load_client
from dyna.envs.seed_blocks import SeedBlocks
from dyna.types import Action, Outcome, Source, Start, StopReason, Task

_NO_TEXT = "(nothing is said)"
_CUTS = {reason.value: reason for reason in StopReason if reason.is_truncation}


class OpenEnvWorld:
    """Example: `OpenEnvWorld(url="http://127.0.0.1:8000")`.

    Raises `MissingExtraError` without the extra, `ConnectionError` when no server answers at
    `url`, and `ValueError` for fields that the server does not have or that are not clear.
    """

    def __init__(
        self,
        *,
        url: str,
        action_field: str = "",
        action_extra: Mapping[str, Any] | None = None,
        actions: Mapping[str, Mapping[str, Any]] | None = None,
        observation_fields: Sequence[str] = (),
        admissible_field: str = "",
        success_field: str = "",
        success_reward: float | None = None,
        valid_field: str = "",
        stop_field: str = "",
        hidden_state_field: str = "",
        reset: Mapping[str, Any] | None = None,
        goal: str = "",
        imagined: bool = False,
        random_dynamics: bool = False,
        num_train: int = 1000,
        num_valid: int = 100,
        num_test: int = 100,
        max_turns: int = 0,
        connect_timeout_s: float = 10.0,
        message_timeout_s: float = 60.0,
    ) -> None:
        """`action_field` takes the command, beside what `action_extra` always sends; or `actions`
        names whole actions. `observation_fields` are told to the agent: one as it is, several
        under their names; a dotted path leads inside (`messages.-1.content`). The other fields
        say what OpenEnv has no word for; a field left empty is not used. Of these, a server of
        ours needs none. Without `success_field`, an episode is won when its last reward is at
        least `success_reward` (by default: above 0). `reset` goes with every reset, beside the
        seed. `imagined=True` is asked for before a world model's answers are taken for a world's.
        `random_dynamics` says that equal starts with unequal seeds are different games."""
        require("openenv", world="openenv")
        load_client()
        self.url = _checked_url(url)
        limits = {"connect_timeout_s": connect_timeout_s, "message_timeout_s": message_timeout_s}
        self.session = partial(Session, self.url, **check_limits(limits))
        self.max_turns = max_turns
        EpisodeClock(max_turns=max_turns)  # a negative number is refused now, not in an episode
        schema = read_schema(self.url, timeout_s=connect_timeout_s)
        given = Fields(
            action=action_field,
            observation=tuple(observation_fields),
            admissible=admissible_field,
            success=success_field,
            valid=valid_field,
            stop=stop_field,
            hidden_state=hidden_state_field,
        )
        self.fields = choose_fields(schema, given=given, needs_action=not actions)
        self.actions = {name: dict(action) for name, action in (actions or {}).items()}
        self._extra = dict(action_extra or {})
        self._form = schema.action.get(self.fields.action, {})
        self.success_reward = success_reward
        self.reset_params = dict(reset or {})
        self.goal = goal
        self.random_dynamics = random_dynamics
        sizes = {"train": num_train, "valid": num_valid, "test": num_test}
        self._blocks = self._of_ours(schema.extension, imagined=imagined) or SeedBlocks(sizes)

    @property
    def splits(self) -> Mapping[str, int | None]:
        """The splits of a server of ours; blocks of seeds for any other."""
        return dict(self._blocks.sizes)

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        indices = self._blocks.indices(split, num=num, offset=offset)
        return [self._task(split, index=index) for index in indices]

    def fingerprint(self, task: Task) -> str:
        """By the first observation, asked of the server; and by the seed if `random_dynamics`."""
        self.check(task)
        session = self.session()
        try:
            answer = session.reset(self.reset_request(task))
        finally:
            session.close()
        drawn = task.seed if self.random_dynamics else ""
        text = in_words(answer.observation, fields=self.fields.observation)
        return sha256(f"{text}\0{drawn}".encode()).hexdigest()[:16]

    def make(self) -> OpenEnvEnv:
        return OpenEnvEnv(self)

    def check(self, task: Task) -> None:
        """Raise `ValueError` for a task that is not of this server."""
        if task.world != "openenv" or task.params.get("name") != self.name:
            raise ValueError(
                f"task {task.id!r} is not of this world, {self.name!r} at {self.url}; make the "
                "world with the url of the task's server"
            )
        if task.split not in self._blocks.sizes:
            raise ValueError(f"task {task.id!r} has an unknown split {task.split!r}")

    def reset_request(self, task: Task) -> dict[str, Any]:
        split = {"split": task.split} if self._names_splits else {}
        return {**self.reset_params, **split, "seed": task.seed}

    def action(self, command: str) -> dict[str, Any] | None:
        """What is sent for a command; None if it stands for no action."""
        if self.actions:
            return self.actions.get(" ".join(command.split()))
        # A lone surrogate has no place in JSON's text.
        value: Any = command.encode("utf-8", "replace").decode("utf-8")
        if self._form.get("type") == "integer":
            try:
                value = int(command.strip()[:20])
            except ValueError:
                return None
        return {**self._extra, self.fields.action: value}

    def _of_ours(self, extension: Mapping[str, Any], *, imagined: bool) -> SeedBlocks | None:
        """The splits that a server of ours names; None for any other server, whose name is then
        its address. Raises `ValueError` for a world model that is not asked for."""
        self.name = str(extension.get("world") or urlsplit(self.url).netloc)
        self._names_splits = "splits" in extension
        if extension.get("source") == Source.IMAGINED and not imagined:
            raise ValueError(
                f"the server at {self.url} is a world model, not a world: what is played there "
                "must not pass for real experience; set `imagined` to true to play it knowingly"
            )
        if not self._names_splits:
            return None
        sizes = {str(split): int(num) for split, num in dict(extension["splits"]).items()}
        if "train" not in sizes:
            raise ValueError(
                f"the server at {self.url} has no split `train`, only {list(sizes)}; a world has "
                "one: serve it"
            )
        return SeedBlocks(sizes)

    def _task(self, split: str, *, index: int) -> Task:
        seed = index if self._names_splits else self._blocks.seed(split, index=index)
        return Task(
            id=f"openenv/{self.name}/{split}/{seed}",
            world="openenv",
            family=self.name,
            split=split,
            seed=seed,
            params={"name": self.name},
        )


class OpenEnvEnv:
    """One episode at a time of an `OpenEnvWorld`, in one session."""

    def __init__(self, world: OpenEnvWorld) -> None:
        self._world = world
        self._session = world.session()
        self._clock = EpisodeClock(max_turns=world.max_turns)
        self._admissible: tuple[str, ...] | None = None

    async def reset(self, task: Task) -> Start:
        """Raises `ConnectionError` when the server is gone, `TimeoutError` when it hangs."""
        world = self._world
        world.check(task)
        answer = await self._session.reset_async(world.reset_request(task))
        self._clock.begin()
        self._admissible = self._listed(answer)
        text = in_words(answer.observation, fields=world.fields.observation)
        hidden = world.fields.hidden_state and pick(answer.observation, world.fields.hidden_state)
        return Start(
            observation="\n\n".join(part for part in (world.goal, text) if part) or _NO_TEXT,
            hidden_state=str(hidden) if hidden else None,
            admissible=self._admissible,
        )

    async def step(self, action: Action) -> Outcome:
        """Raises as `reset` does. The episode cannot go on then."""
        self._clock.check()
        message = self._world.action(action.command)
        if message is None:
            return self._refused("That is not one of the commands.")
        try:
            answer = await self._session.step_async(message)
        except RefusedActionError as refusal:
            return self._refused(str(refusal))
        return self._outcome(answer)

    async def close(self) -> None:
        await self._session.close_async()

    def _outcome(self, answer: Answer) -> Outcome:
        world, fields = self._world, self._world.fields
        cut = fields.stop and pick(answer.observation, fields.stop)
        reason = _CUTS.get(str(cut), StopReason.STEP_LIMIT if cut is True else None)
        terminated = answer.done and reason is None
        stop = self._clock.tick(terminated=terminated)
        if stop is None and answer.done:
            stop = reason
            self._clock = EpisodeClock(max_turns=world.max_turns)
        if fields.success:
            success = terminated and bool(pick(answer.observation, fields.success))
        else:
            least = world.success_reward
            success = terminated and (
                answer.reward > 0 if least is None else answer.reward >= least
            )
        valid = pick(answer.observation, fields.valid) if fields.valid else None
        self._admissible = self._listed(answer)
        return Outcome(
            observation=in_words(answer.observation, fields=fields.observation),
            reward=answer.reward,
            terminated=terminated,
            success=success,
            stop=stop,
            valid=valid if isinstance(valid, bool) else None,
            admissible=self._admissible,
        )

    def _refused(self, why: str) -> Outcome:
        return Outcome(
            observation=why,
            stop=self._clock.tick(terminated=False),
            valid=False,
            admissible=self._admissible,
        )

    def _listed(self, answer: Answer) -> tuple[str, ...] | None:
        world = self._world
        if not world.fields.admissible:
            return tuple(world.actions) or None
        found = pick(answer.observation, world.fields.admissible)
        return tuple(map(str, cast(list[Any], found))) if isinstance(found, list) else None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    schemes = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
    if parts.scheme not in schemes or not parts.netloc:
        raise ValueError(f"url must read like `http://127.0.0.1:8000`, got {url!r}")
    return f"{schemes[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"


__all__ = ["OpenEnvEnv", "OpenEnvWorld"]
