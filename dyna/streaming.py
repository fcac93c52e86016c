"""Dreams that go on while the policy learns: which may begin, which are too old to learn from.

Whole groups are taken as they finish, so a straggler holds nobody back. A group may begin only if
learning what began before it leaves it young enough (AReaL, Fu et al. 2025, arXiv 2505.24298); one
that took too long all the same is dropped whole. Everything here happens on the learner's thread;
who dreams, and where, is behind `Dreamers`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dyna.imagination import Dream
from dyna.rollout import warn_of_failures
from dyna.types import Metrics, Trajectory

_log = logging.getLogger(__name__)


class StalledError(RuntimeError):
    """Dreams are under way and nothing moves: the engine of the policy or of the model hangs."""


class Dreamers(Protocol):
    """Who dreams: a thread of this process, or actors elsewhere."""

    def begin(self, groups: Sequence[Sequence[Dream]]) -> None:
        """Take groups on; returns without waiting for them."""
        ...

    def collect(self) -> list[list[Trajectory]]:
        """Groups that have ended, each whole and in its order; empty when none did for a moment.

        Raises what broke a dream, and `StalledError`.
        """
        ...

    def close(self) -> None:
        """Give up on what is under way."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A group that has been dreamt."""

    trajectories: list[Trajectory]
    version: int
    """Of the policy that chose the oldest of its new actions."""


class DreamStream:
    """The dreams of one round; `take()` until it comes back empty, then `close()`.

    Example: with `groups_per_update=4` and `max_staleness=1` eight groups begin. Once four have
    finished they are taken; when the next four are asked for, four more may begin.
    """

    def __init__(
        self,
        dreams: Sequence[Dream],
        *,
        dreamers: Dreamers,
        groups_per_update: int,
        max_staleness: int,
        policy_version: Callable[[], int],
        on_episode: Callable[[Trajectory], None],
    ) -> None:
        """
        Args:
            dreams: All of them, in the order in which they shall begin.
            dreamers: Closed with the stream.
            groups_per_update: As many groups as `take` waits for.
            max_staleness: Versions by which an action may be older than `policy_version()`.
            policy_version: Of the policy that learns, as it was last shared.
            on_episode: Called for every episode on the thread that calls `take`.
        """
        if groups_per_update < 1:
            raise ValueError(f"groups_per_update must be >= 1, got {groups_per_update}")
        if max_staleness < 0:
            raise ValueError(f"imagination.max_staleness must be >= 0, got {max_staleness}")
        self.stale: list[Trajectory] = []
        """Of the groups that were dropped, so far."""
        self._dreamers = dreamers
        self._groups_per_update = groups_per_update
        self._max_staleness = max_staleness
        self._policy_version = policy_version
        self._on_episode = on_episode
        self._waiting = deque(whole_groups(dreams))
        self._num_open = 0
        self._ended: list[_Ended] = []
        self._played: list[Trajectory] = []
        self._num_dropped = 0
        self._ages: list[int] = []
        """Of the groups that were taken, in policy versions."""

    def take(self) -> list[Trajectory]:
        """Groups for one update, those first that would grow too old first.

        Fewer at the end, where all that is under way is waited for; none when nothing is left.
        Whoever asks for more has learned from what it had. Raises as `Dreamers.collect`.
        """
        while True:
            self._drop_stale()
            self._begin()
            is_enough = len(self._ended) >= self._groups_per_update
            if is_enough or not (self._num_open or self._waiting):
                break
            for group in self._dreamers.collect():
                self._enter(group)
        self._ended.sort(key=lambda group: group.version)
        taken = self._ended[: self._groups_per_update]
        del self._ended[: self._groups_per_update]
        self._ages += [max(0, self._policy_version() - group.version) for group in taken]
        return [trajectory for group in taken for trajectory in group.trajectories]

    def close(self) -> None:
        """End the dreams that are under way; what was not taken is lost."""
        self._dreamers.close()
        warn_of_failures(self._played)
        if self._num_dropped:
            _log.warning(
                "%d groups of dreams took longer than imagination.max_staleness=%d updates and "
                "were dropped; raise it, or lower imagination.horizon",
                *(self._num_dropped, self._max_staleness),
            )
        self._played = []

    def metrics(self) -> Metrics:
        """How old what was learned from had become, and how much had become too old."""
        ages = self._ages or [0]
        return {
            "imagined/dropped_stale_groups": float(self._num_dropped),
            "imagined/staleness": sum(ages) / len(ages),
            "imagined/largest_staleness": float(max(ages)),
        }

    def _begin(self) -> None:
        """Begin groups as long as one more would be learned from before it is too old."""
        begun: list[list[Dream]] = []
        while self._waiting:
            num_before = self._num_open + len(begun) + len(self._ended)
            if num_before // self._groups_per_update > self._max_staleness:
                break
            begun.append(self._waiting.popleft())
        if begun:
            self._num_open += len(begun)
            self._dreamers.begin(begun)

    def _enter(self, group: list[Trajectory]) -> None:
        self._num_open -= 1
        for trajectory in group:
            self._played.append(trajectory)
            self._on_episode(trajectory)
        version = min(map(_oldest_version, group))
        self._ended.append(_Ended(trajectories=group, version=version))

    def _drop_stale(self) -> None:
        oldest = self._policy_version() - self._max_staleness
        stale = [group for group in self._ended if group.version < oldest]
        self._ended = [group for group in self._ended if group.version >= oldest]
        self._num_dropped += len(stale)
        for group in stale:
            self.stale += group.trajectories
            _log.info(
                "dream group %s was begun with policy version %d and dropped at version %d",
                *(group.trajectories[0].group_id, group.version, self._policy_version()),
            )


def whole_groups(dreams: Sequence[Dream]) -> list[list[Dream]]:
    """Dreams by group, in the order of their first members; without a group each is its own."""
    groups: dict[str, list[Dream]] = {}
    for dream in dreams:
        groups.setdefault(dream.spec.group_id or f"\x00{dream.spec.episode_id}", []).append(dream)
    return list(groups.values())


def _oldest_version(trajectory: Trajectory) -> int:
    """Of the actions that may be learned from; weights may have changed between any two."""
    versions = [turn.action.policy_version for turn in trajectory.new_turns]
    return min(versions, default=trajectory.policy_version)


__all__ = ["DreamStream", "Dreamers", "StalledError", "whole_groups"]
