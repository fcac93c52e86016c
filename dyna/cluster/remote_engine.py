"""An engine for players, behind which stand the run's engine actors.

A request is a pure function of its seed and the weights, so whoever is asked gives the same answer:
one that dies or hangs is left, and another is asked. A conversation stays with the actor that holds
its prefix as long as that one answers.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, cast

import ray
from ray.exceptions import RayActorError

from dyna.cluster.engine_actor import NAMESPACE, PushedWeights, Refusal, Status, actor_name
from dyna.config import RunConfig
from dyna.protocols import Completion, EngineLostError, GenerationRequest

_log = logging.getLogger(__name__)

_CHECK_S = 1.0
"""A request that waits looks this often whether its actor is still there."""
_MAX_CONVERSATIONS = 100_000
"""Of which it is remembered who holds them."""
_MAX_FAILURES = 10
"""Actors lost over one request before the request itself must be at fault."""


class _SeatLost(Exception):
    """The actor died, was restarted empty, or hangs."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Seat:
    """An actor as one player sees it."""

    name: str
    handle: Any
    under_way: int = 0
    is_out: bool = False
    """Not asked until it has answered a ping."""
    heard: float = field(default_factory=time.monotonic)
    """When it last answered anything."""
    probe: Future[Status] | None = None
    probed: float = 0.0

    def send_probe(self) -> None:
        if self.probe is None and time.monotonic() - self.probed > _CHECK_S / 2:
            self.probed = time.monotonic()
            self.probe = self.handle.ping.remote().future()

    def take_probe(self, *, timeout_s: float) -> bool:
        """Whether an answer has come that says it works. Raises `_SeatLost` if it does not."""
        if self.probe is None or not self.probe.done():
            return False
        probe, self.probe = self.probe, None
        try:
            status = probe.result()
        except RayActorError as error:
            raise _SeatLost(str(error)) from error
        if not status.is_ready:
            raise _SeatLost("it was restarted and is not ready yet")
        if status.idle_s > timeout_s:
            raise _SeatLost(f"its requests have made no progress for {status.idle_s:.0f} s")
        self.heard = time.monotonic()
        return True


class RemoteEngine:
    """Satisfies `Engine` with the actors of one role. Use it from any event loop."""

    def __init__(
        self,
        handles: Mapping[str, Any],
        *,
        role: str,
        is_exact: bool,
        request_timeout_s: float,
        patience_s: float,
    ) -> None:
        """
        Args:
            handles: The actors by name.
            role: Whose engine to ask.
            is_exact: Take only the weights of the last push known here, no newer ones.
            request_timeout_s: Seconds without a sign of life before an actor is left.
            patience_s: Seconds to wait for one to come back when all are gone.
        """
        self._seats = [_Seat(name=name, handle=handle) for name, handle in handles.items()]
        self._role = role
        self._is_exact = is_exact
        self._request_timeout_s = request_timeout_s
        self._patience_s = patience_s
        self._held: dict[str, _Seat] = {}
        self._first = os.getpid() % len(self._seats)
        self.weights_version = 0
        self.pushed: PushedWeights | None = None
        """The weights that it asks for; None before the first push."""
        self.publish: Callable[[str, Mapping[str, Any], int], PushedWeights] | None = None
        """In the driver: gives a role's weights to all actors under a version."""

    async def generate(self, request: GenerationRequest) -> Completion:
        """Sample one continuation of the prompt, by whichever actor answers.

        Raises `EngineLostError` when none does, and what the engine raises for a bad request.
        """
        for _ in range(_MAX_FAILURES):
            seat = await self._choose(request.conversation_id)
            try:
                answer = await self._ask(seat, request=request)
            except (_SeatLost, RayActorError) as error:
                self._leave(seat, reason=str(error))
                continue
            if isinstance(answer, Completion):
                return answer
            raise EngineLostError(
                f"{seat.name} holds newer weights than push {self._stamp}, which this player was "
                "given: it was taken for lost, and the run went on without it"
            )
        raise EngineLostError(
            f"{_MAX_FAILURES} engine actors of {self._role!r} were lost over one request, of "
            f"conversation {request.conversation_id!r} with {len(request.prompt_ids)} tokens; "
            "look into their logs, most likely memory"
        )

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        """In the driver: give all actors the weights, through one copy in the object store.

        Raises `RuntimeError` in any other process.
        """
        if self.publish is None:
            raise RuntimeError(
                f"the engines of {self._role!r} are shared; only the driver gives them weights"
            )
        self.follow(self.publish(self._role, weights, version))

    def follow(self, pushed: PushedWeights) -> None:
        """From now on ask for these weights. They are not fetched."""
        self.pushed = pushed
        self.weights_version = pushed.version

    @property
    def _stamp(self) -> int:
        return self.pushed.stamp if self.pushed else 0

    async def _ask(self, seat: _Seat, *, request: GenerationRequest) -> Completion | Refusal:
        """The answer; a seat that lacks the weights is given them first."""
        for _ in range(_MAX_FAILURES):
            answer: Completion | Refusal = await self._call(
                seat,
                seat.handle.generate.remote(
                    request, role=self._role, stamp=self._stamp, is_exact=self._is_exact
                ),
            )
            if answer is Refusal.EMPTY:
                raise _SeatLost("it was restarted and is not ready yet")
            if answer is not Refusal.BEHIND:
                return answer
            _log.warning("%s lacks push %d of weights and is given it", seat.name, self._stamp)
            await self._call(seat, seat.handle.load.remote(self._role, self.pushed))
        raise _SeatLost("it does not keep its weights")

    async def _call(self, seat: _Seat, ref: Any) -> Any:
        """Wait for a call as long as its actor shows signs of life."""
        future = asyncio.wrap_future(cast("Future[Any]", ref.future()))
        if not seat.under_way:
            seat.heard = time.monotonic()
        seat.under_way += 1
        try:
            while not future.done():
                await asyncio.wait([future], timeout=_CHECK_S)
                if not future.done():
                    self._check(seat)
            seat.heard = time.monotonic()
            return future.result()
        finally:
            seat.under_way -= 1
            if not future.done():
                future.cancel()
                ray.cancel(ref)

    def _check(self, seat: _Seat) -> None:
        """Raise `_SeatLost` if the actor of a request that waits is dead or hangs.

        Silence counts from a ping that is not answered: it may be this process that was held up.
        """
        if seat.take_probe(timeout_s=self._request_timeout_s):
            return
        now = time.monotonic()
        if seat.probe is not None and now - seat.probed > self._request_timeout_s:
            raise _SeatLost(f"it has not answered for {now - seat.probed:.0f} s")
        if now - seat.heard > _CHECK_S:
            seat.send_probe()

    async def _choose(self, conversation_id: str) -> _Seat:
        """Who holds the conversation, or else the least busy.

        Raises `EngineLostError` when all are out and stay so.
        """
        deadline = time.monotonic() + self._patience_s
        while True:
            self._look_for_returned()
            held = self._held.get(conversation_id)
            if held is not None and not held.is_out:
                return self._hold(conversation_id, seat=held)
            able = [i for i, seat in enumerate(self._seats) if not seat.is_out]
            if able:
                chosen = self._seats[min(able, key=self._business)]
                return self._hold(conversation_id, seat=chosen)
            if time.monotonic() > deadline:
                raise EngineLostError(
                    f"none of {len(self._seats)} engine actors of {self._role!r} has come back in "
                    f"{self._patience_s:g} s; look into their logs, then resume from the last "
                    "checkpoint"
                )
            await asyncio.sleep(_CHECK_S / 4)

    def _hold(self, conversation_id: str, *, seat: _Seat) -> _Seat:
        """Remember who holds the conversation; the longest silent one is forgotten for it."""
        self._held.pop(conversation_id, None)
        self._held[conversation_id] = seat
        if len(self._held) > _MAX_CONVERSATIONS:
            self._held.pop(next(iter(self._held)), None)
        return seat

    def _business(self, index: int) -> tuple[int, int]:
        """Players begin with different actors, so that a few requests of many spread."""
        return self._seats[index].under_way, (index - self._first) % len(self._seats)

    def _look_for_returned(self) -> None:
        for seat in self._seats:
            if not seat.is_out:
                continue
            try:
                if seat.take_probe(timeout_s=self._request_timeout_s):
                    seat.is_out = False
                    _log.warning("%s is back", seat.name)
                    continue
            except _SeatLost:
                pass
            seat.send_probe()

    def _leave(self, seat: _Seat, *, reason: str) -> None:
        if not seat.is_out:
            _log.warning("%s is left: %s", seat.name, reason)
        seat.is_out = True


def find_engines(config: RunConfig, *, roles: Sequence[str]) -> dict[str, RemoteEngine]:
    """The engines of a run by role, for one of its players.

    Raises `EngineLostError` where no actors go by the name of the run's group.
    """
    engine, group = config.engine, config.runtime.engine_group
    found: dict[str, RemoteEngine] = {}
    for role in roles:
        names = [
            actor_name(group, role="" if engine.shared else role, index=i)
            for i in range(engine.num_actors)
        ]
        try:
            handles = {name: ray.get_actor(name, namespace=NAMESPACE) for name in names}
        except ValueError as error:
            raise EngineLostError(
                f"there are no engine actors {names[0]!r}: runtime.engine_group must be that of a "
                "run under way, which sets it itself"
            ) from error
        found[role] = RemoteEngine(
            handles,
            role=role,
            is_exact=config.imagination.max_staleness == 0,
            request_timeout_s=engine.request_timeout_s,
            patience_s=engine.start_timeout_s,
        )
    return found
