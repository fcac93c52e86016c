"""Dreams dealt to the rollout actors, each of which dreams on a thread of its own.

Whole groups go out to whoever has least to do, and whole groups come back as they end. What an
actor died with is dealt again; what it had sent before counts, and nothing counts twice.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

from dyna.imagination import Dream
from dyna.rllib.env_runner import Reply, Stamps
from dyna.rllib.failures import LostRunnersError
from dyna.spending import METER
from dyna.types import Trajectory

_log = logging.getLogger(__name__)

_MOMENT_S = 0.5
"""How long `collect` waits for the first answer."""
_names = count()


class Runners(Protocol):
    """The rollout actors, by number."""

    num_replayed: int

    def ready_ids(self) -> list[int]:
        """Those that may be given work; waits for some, or raises `LostRunnersError`."""
        ...

    def actor(self, id: int) -> Any: ...

    def stamps(self) -> Stamps:
        """Of the weights that were pushed last."""
        ...

    def catch_up(self, id: int) -> None:
        """Give it the weights of the others."""
        ...

    def lose(self, id: int, *, hangs: str = "") -> None:
        """It is dead, or `hangs` says how it hangs: then it is killed."""
        ...


@dataclass(slots=True, kw_only=True)
class _Call:
    """A question to an actor that it has not answered."""

    id: int
    asked_at: float
    begins: bool
    """It was given groups; otherwise asked for those that have ended."""


@dataclass(slots=True)
class _Desk:
    """What one actor is busy with."""

    stream: str = field(default_factory=lambda: f"stream{next(_names)}")
    """An actor that was given up gets another one: what it still knows of the old one is void."""
    groups: dict[str, Sequence[Dream]] = field(default_factory=dict[str, Sequence[Dream]])
    """By the id of their first dream."""

    @property
    def num_dreams(self) -> int:
        return sum(map(len, self.groups.values()))


class DreamPool:
    """Satisfies `dyna.streaming.Dreamers` with rollout actors."""

    def __init__(self, runners: Runners, *, timeout_s: float, max_attempts: int) -> None:
        """
        Args:
            runners: Who dreams.
            timeout_s: Seconds in which an actor must answer any question.
            max_attempts: Times that a group is dealt out before something else must be wrong.
        """
        self._runners = runners
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts
        self._desks: dict[int, _Desk] = {}
        self._calls: dict[Any, _Call] = {}
        self._lost: list[Sequence[Dream]] = []
        self._attempts: Counter[str] = Counter()

    def begin(self, groups: Sequence[Sequence[Dream]]) -> None:
        """Deal groups out, each to whoever has fewest dreams under way.

        Raises `LostRunnersError` when there is nobody, or when a group was dealt out too often.
        """
        ids = self._runners.ready_ids()
        shares: dict[int, list[Sequence[Dream]]] = {}
        for group in groups:
            self._count_attempt(group)
            id = min(ids, key=lambda id: (self._desk(id).num_dreams, id))
            self._desk(id).groups[_key(group)] = group
            shares.setdefault(id, []).append(group)
        for id, share in shares.items():
            ref = self._runners.actor(id).begin_dreams.remote(
                share, stream=self._desk(id).stream, stamps=self._runners.stamps()
            )
            self._calls[ref] = _Call(id=id, asked_at=time.monotonic(), begins=True)

    def collect(self) -> list[list[Trajectory]]:
        """Groups that have ended, after a moment's wait for the first answer.

        Raises `RuntimeError` with the traceback when the code fails, not the machine, and
        `LostRunnersError` as `begin` does.
        """
        self._ask()
        refs = list(self._calls)
        ready: list[Any] = ray.wait(refs, num_returns=1, timeout=_MOMENT_S)[0] if refs else []
        if ready:
            ready = ray.wait(refs, num_returns=len(refs), timeout=0)[0]
        found: list[list[Trajectory]] = []
        for ref in ready:
            # An actor that is lost takes its other calls with it.
            if ref in self._calls:
                found += self._hear(ref)
        self._lose_silent()
        lost, self._lost = self._lost, []
        if lost:
            self.begin(lost)
        return found

    def close(self) -> None:
        """Tell everybody to stop. They do before they do anything else that they are asked."""
        for id in self._desks:
            self._runners.actor(id).end_dreams.remote()
        self._desks = {}
        self._calls = {}

    def _desk(self, id: int) -> _Desk:
        return self._desks.setdefault(id, _Desk())

    def _count_attempt(self, group: Sequence[Dream]) -> None:
        key = _key(group)
        self._attempts[key] += 1
        if self._attempts[key] > self._max_attempts:
            raise LostRunnersError(
                f"dream {key!r} did not come back in {self._max_attempts} attempts: whoever plays "
                "it dies or hangs; look into the workers' logs, most likely memory"
            )

    def _ask(self) -> None:
        asked = {call.id for call in self._calls.values() if not call.begins}
        for id, desk in self._desks.items():
            if desk.groups and id not in asked:
                ref = self._runners.actor(id).collect_dreams.remote(stream=desk.stream)
                self._calls[ref] = _Call(id=id, asked_at=time.monotonic(), begins=False)

    def _hear(self, ref: Any) -> list[list[Trajectory]]:
        """The groups in an answer."""
        call = self._calls.pop(ref)
        try:
            reply: Reply = ray.get(ref)
        except RayTaskError:
            raise
        except RayError as error:
            _log.warning("env runner %d died: %s", call.id, error)
            self._lose(call.id)
            return []
        METER.add(reply.usage)
        if reply.error:
            raise RuntimeError(f"env runner {call.id} failed:\n{reply.error}")
        if reply.stalled:
            self._lose(call.id, hangs=reply.stalled)
            return []
        groups = self._accept(call.id, trajectories=reply.trajectories)
        if reply.is_stale:
            self._reclaim(call.id)
            self._runners.catch_up(call.id)
        return groups

    def _accept(self, id: int, *, trajectories: Sequence[Trajectory]) -> list[list[Trajectory]]:
        played = {trajectory.id: trajectory for trajectory in trajectories}
        groups = self._desk(id).groups
        ended = [key for key in groups if key in played]
        return [[played[d.spec.episode_id] for d in groups.pop(key)] for key in ended]

    def _lose_silent(self) -> None:
        now = time.monotonic()
        silent = {c.id for c in self._calls.values() if now - c.asked_at > self._timeout_s}
        for id in sorted(silent):
            self._lose(id, hangs=f"has not answered in {self._timeout_s:g} s")

    def _lose(self, id: int, *, hangs: str = "") -> None:
        self._runners.lose(id, hangs=hangs)
        self._reclaim(id)

    def _reclaim(self, id: int) -> None:
        """Take back what an actor was given, to deal it out again."""
        self._calls = {ref: call for ref, call in self._calls.items() if call.id != id}
        groups = list(self._desks.pop(id, _Desk()).groups.values())
        num_dreams = sum(map(len, groups))
        if num_dreams:
            self._runners.num_replayed += num_dreams
            _log.warning("%d dreams were lost with their env runner; dreaming again", num_dreams)
        self._lost += groups


def _key(group: Sequence[Dream]) -> str:
    return group[0].spec.episode_id


__all__ = ["DreamPool", "Runners"]
