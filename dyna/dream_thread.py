"""A thread that dreams, with an event loop of its own, while another one learns.

Policy, world model and their engines are used on this loop alone from the first dream to `close()`.
Whoever wants to touch them in between, to load weights, hands in a call, which runs between two
steps of the loop. Everything else here belongs to the thread that made it.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from dyna.config import ImaginationConfig
from dyna.imagination import Dream, dream_envs
from dyna.protocols import Policy, WorldModel
from dyna.rollout import Limits, play_episode
from dyna.streaming import StalledError
from dyna.types import Action, Context, Outcome, Source, Trajectory

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_MOMENT_S = 0.2
"""How long `collect` waits for the first group."""
_CLOSE_S = 10.0
"""How long whatever is under way may take to notice that it is given up."""


class DreamThread:
    """Plays dreams in the background; satisfies `dyna.streaming.Dreamers`."""

    def __init__(
        self,
        *,
        policy: Policy,
        model: WorldModel,
        config: ImaginationConfig,
        max_concurrent: int,
        patience_s: float,
    ) -> None:
        """
        Args:
            policy: Who acts; used on the thread alone.
            model: Who answers; likewise.
            config: Horizon and gates.
            max_concurrent: Dreams at once; more wait, in their order.
            patience_s: Seconds in which something must move while dreams are under way.
        """
        if max_concurrent < 1:
            raise ValueError(f"max_concurrent must be >= 1, got {max_concurrent}")
        self._policy = policy
        self._model = _WatchedModel(model, moved=self._move)
        self._config = config
        self._max_concurrent = max_concurrent
        self._patience_s = min(patience_s, threading.TIMEOUT_MAX)
        self._moved_at = time.monotonic()
        self._num_open = 0
        self._done: queue.SimpleQueue[list[Trajectory] | BaseException] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._todo: asyncio.Queue[_Seat] = asyncio.Queue()
        self._closing = asyncio.Event()
        # A daemon: one that hangs in a step and cannot be ended must not keep the process.
        self._thread = threading.Thread(target=self._run, name="dreams", daemon=True)
        self._thread.start()

    def begin(self, groups: Sequence[Sequence[Dream]]) -> None:
        if not self._num_open:
            self._move()
        self._num_open += len(groups)
        self._loop.call_soon_threadsafe(self._seat, groups)

    def collect(self) -> list[list[Trajectory]]:
        """Groups that have ended, after a moment's wait for the first.

        Raises what broke a dream, and `StalledError` when nothing moved for `patience_s`.
        """
        found: list[list[Trajectory]] = []
        try:
            found.append(self._receive(timeout_s=_MOMENT_S))
            while True:
                found.append(self._receive(timeout_s=0.0))
        except queue.Empty:
            pass
        self._num_open -= len(found)
        still_s = time.monotonic() - self._moved_at
        if self._num_open and not found and still_s > self._patience_s:
            raise StalledError(
                f"{self._num_open} groups of dreams are under way and nothing has moved for "
                f"{still_s:.0f} s: the engine of the policy or of the world model hangs; raise "
                "engine.request_timeout_s if it is only slow"
            )
        return found

    def call(self, change: Callable[[], _T]) -> _T:
        """Run `change` on the thread, between two steps, and return what it does.

        Raises `StalledError` when the thread does not come to it for `patience_s`.
        """
        answer: Future[_T] = Future()

        def run() -> None:
            try:
                answer.set_result(change())
            except BaseException as error:
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        try:
            return answer.result(timeout=self._patience_s)
        except TimeoutError as error:
            if answer.done():
                raise
            raise StalledError(
                f"the thread that dreams has not ended its step for {self._patience_s:g} s: the "
                "engine of the policy or of the world model hangs"
            ) from error

    def close(self) -> None:
        """Give up on what is under way and end the thread; calling it twice is fine."""
        if not self.is_open:
            return
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_CLOSE_S)
        if self.is_open:
            _log.error("the thread that dreams hangs in a step and is left behind")

    @property
    def is_open(self) -> bool:
        return self._thread.is_alive()

    def _seat(self, groups: Sequence[Sequence[Dream]]) -> None:
        for group in map(_Group, groups):
            for dream in group.dreams:
                self._todo.put_nowait(_Seat(group, dream))

    def _receive(self, *, timeout_s: float) -> list[Trajectory]:
        ended = self._done.get(timeout=timeout_s) if timeout_s else self._done.get_nowait()
        if isinstance(ended, BaseException):
            raise ended
        return ended

    def _move(self) -> None:
        self._moved_at = time.monotonic()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._dream_until_closed())
        except BaseException as error:  # SystemExit too: nobody else would ever hear of it
            self._done.put(error)

    async def _dream_until_closed(self) -> None:
        dreaming = asyncio.create_task(self._dream())
        await self._closing.wait()
        dreaming.cancel()
        await asyncio.wait([dreaming])

    async def _dream(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._max_concurrent):
                    tasks.create_task(self._play_on())
        except BaseExceptionGroup as errors:
            self._done.put(errors.exceptions[0])

    async def _play_on(self) -> None:
        while True:
            seat = await self._todo.get()
            trajectory = await self._play(seat.dream)
            if whole := seat.group.add(trajectory):
                self._done.put(whole)

    async def _play(self, dream: Dream) -> Trajectory:
        make_env = dream_envs(
            [dream],
            model=self._model,
            min_confidence=self._config.min_confidence,
            min_win_confidence=self._config.min_win_confidence,
        )
        return await play_episode(
            dream.spec,
            policy=_WatchedPolicy(self._policy, moved=self._move),
            env=make_env(dream.spec),
            limits=Limits(max_turns=self._config.horizon),
            source=Source.IMAGINED,
            model_version=self._model.version,
        )


class _Group:
    """Dreams that come back together."""

    def __init__(self, dreams: Sequence[Dream]) -> None:
        self.dreams = dreams
        self._played: dict[str, Trajectory] = {}

    def add(self, trajectory: Trajectory) -> list[Trajectory]:
        """The whole group in its order, with its last member; empty before."""
        self._played[trajectory.id] = trajectory
        if len(self._played) < len(self.dreams):
            return []
        return [self._played[dream.spec.episode_id] for dream in self.dreams]


class _Seat:
    """A dream to play, as a member of its group."""

    def __init__(self, group: _Group, dream: Dream) -> None:
        self.group = group
        self.dream = dream


class _WatchedPolicy:
    """A policy, for one episode, that tells when it has answered."""

    def __init__(self, policy: Policy, *, moved: Callable[[], None]) -> None:
        self.version = policy.version
        """At the beginning of the episode; every action has its own."""
        self._policy = policy
        self._moved = moved

    async def act(self, context: Context) -> Action:
        try:
            return await self._policy.act(context)
        finally:
            self._moved()


class _WatchedModel:
    """A world model that tells when it has answered."""

    def __init__(self, model: WorldModel, *, moved: Callable[[], None]) -> None:
        self._model = model
        self._moved = moved

    @property
    def version(self) -> int:
        return self._model.version

    async def predict(self, context: Context, action: Action) -> Outcome:
        try:
            return await self._model.predict(context, action)
        finally:
            self._moved()


__all__ = ["DreamThread"]
