"""A crew of rollout actors: spreads whole groups, and replays those that an actor died with.

Every seed is derived by name, so it does not matter who plays what: a group that is played again
by somebody else gives the very same episodes, and the answer is in the order of the question.
An episode enters the books only when it has come back; of a dead actor's nothing has.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, TypeVar, cast

import ray
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from dyna.cluster.engine_actor import PushedWeights
from dyna.cluster.engine_pool import EnginePool
from dyna.cluster.remote_engine import RemoteEngine
from dyna.imagination import Dream
from dyna.rllib.dream_pool import DreamPool
from dyna.rllib.env_runner import DynaEnvRunner, Reply, Stamps
from dyna.rllib.failures import LostRunnersError
from dyna.rllib.parts import POLICY, ROLES, WORLD_MODEL, Player, Weights
from dyna.rollout import EpisodeSpec
from dyna.spending import METER
from dyna.streaming import DreamStream
from dyna.types import Metrics, Trajectory

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_QUICK_PROBE_S = 0.2
"""For actors that may be back, while others are ready to work."""
_SLOW_PROBE_S = 2.0
"""When there is nothing to do but wait for them."""
_MAX_ATTEMPTS = 10
"""Times that the same episodes are given out before something else must be wrong."""


@dataclass(kw_only=True)
class RLlibCrew:
    """Satisfies `dyna.loop.Crew` with the actors of an `EnvRunnerGroup`.

    With no remote actors the driver's own player plays.
    """

    group: EnvRunnerGroup
    player: Player
    """The driver's."""
    engines: EnginePool | None = None
    """The engine actors that everybody shares, if there are any."""
    published: Mapping[str, Callable[[], Weights]] = field(
        default_factory=dict[str, Callable[[], Weights]]
    )
    min_healthy: int = 1
    sample_timeout_s: float = 3600.0
    recovery_timeout_s: float = 120.0
    """How long to wait for dead actors to come back when fewer than `min_healthy` are left."""
    num_replayed: int = 0
    """Episodes given out again since the start, because who had them died."""
    _pushed: dict[str, Any] = field(default_factory=dict[str, Any])
    """By role, the reference to the weights that were pushed last, or the `PushedWeights` that
    the engine actors have."""
    _stamps: Stamps = field(default_factory=lambda: dict.fromkeys(ROLES, 0))
    _num_absent: int = 0

    def play(self, specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
        with self._engines_awake():
            if not self._is_remote:
                return self.player.crew.play(specs)
            return self._spread(specs, spec_of=lambda spec: spec, call=_play)

    def imagine(self, dreams: Sequence[Dream]) -> list[Trajectory]:
        with self._engines_awake():
            if not self._is_remote:
                return self.player.crew.imagine(dreams)
            return self._spread(dreams, spec_of=lambda dream: dream.spec, call=_imagine)

    def stream(self, dreams: Sequence[Dream], *, groups_per_update: int) -> DreamStream:
        crew = self.player.crew
        if not self._is_remote:
            return crew.stream(dreams, groups_per_update=groups_per_update)
        return DreamStream(
            dreams,
            dreamers=DreamPool(self, timeout_s=self.sample_timeout_s, max_attempts=_MAX_ATTEMPTS),
            groups_per_update=groups_per_update,
            max_staleness=crew.imagination.max_staleness,
            policy_version=lambda: crew.behaviors["policy"].version,
            on_episode=crew.on_episode,
        )

    def share_policy(self) -> None:
        self.player.crew.share_policy()
        self._push(POLICY)

    def share_model(self) -> None:
        self.player.crew.share_model()
        self._push(WORLD_MODEL)

    def revive(self, *, timeout_s: float = _QUICK_PROBE_S) -> list[int]:
        """Take restarted actors back into service, with the weights of the others.

        Returns their numbers. Logs an alarm whenever fewer are at work than before.
        """
        if not self._is_remote:
            return []
        restored = [int(i) for i in self.group.probe_unhealthy_env_runners(timeout_s)]
        if restored:
            _log.warning("env runners %s were restarted and are back", restored)
            self._load(ROLES, ids=restored)
        absent = self.group.num_remote_env_runners() - self.num_healthy
        if absent > self._num_absent:
            _log.error(
                "only %d of %d env runners are alive; the run goes on, slower",
                self.num_healthy,
                self.group.num_remote_env_runners(),
            )
        self._num_absent = absent
        return restored

    def metrics(self) -> Metrics:
        return {
            "time/healthy_env_runners": float(self.num_healthy),
            "time/env_runner_restarts": float(self.group.num_remote_worker_restarts()),
            "time/replayed_episodes": float(self.num_replayed),
            **(self.engines.metrics() if self.engines else {}),
        }

    def versions(self) -> list[dict[str, int]]:
        """The weight versions of everybody who plays."""
        ask: Any = DynaEnvRunner.versions
        return self.group.foreach_env_runner(ask, local_env_runner=not self._is_remote)

    def actor(self, id: int) -> Any:
        """The handle of one of them."""
        return self._manager.actors()[id]

    def stamps(self) -> Stamps:
        """Of the weights that were pushed last."""
        return dict(self._stamps)

    def catch_up(self, id: int) -> None:
        """Give one of them the weights of the others."""
        self._load(ROLES, ids=[id])

    def lose(self, id: int, *, hangs: str = "") -> None:
        """One is dead, or hangs: then it is ended, and Ray restarts it."""
        self._manager.set_actor_state(id, healthy=False)
        if hangs:
            _log.error("env runner %d is restarted: %s", id, hangs)
            ray.kill(self.actor(id), no_restart=False)

    @property
    def num_healthy(self) -> int:
        return int(self.group.num_healthy_remote_env_runners())

    @property
    def _manager(self) -> Any:
        return self.group._worker_manager  # pyright: ignore[reportPrivateUsage]

    @property
    def _is_remote(self) -> bool:
        return self.group.num_remote_env_runners() > 0

    @contextmanager
    def _engines_awake(self) -> Generator[None]:
        """Engines that share their GPUs with learners are awake while somebody plays."""
        if self.engines is None:
            yield
            return
        self.engines.wake()
        try:
            yield
        finally:
            self.engines.sleep()

    def _push(self, role: str) -> None:
        """Give every actor the live weights; returns when all have them."""
        if not self._is_remote or role not in self.published:
            return
        store = self.player.stores[role]
        self._pushed[role] = (
            store.pushed if isinstance(store, RemoteEngine) else ray.put(self.published[role]())
        )
        self._stamps[role] += 1
        self.revive()
        self._load([role], ids=self._healthy_ids())

    def _load(self, roles: Iterable[str], *, ids: Sequence[int]) -> None:
        for role in roles:
            if role in self._pushed:
                load = partial(_load, role=role, ref=self._pushed[role], stamp=self._stamps[role])
                self._call(dict.fromkeys(ids, load))

    def _spread(
        self,
        asked: Sequence[_T],
        *,
        spec_of: Callable[[_T], EpisodeSpec],
        call: Callable[..., Reply],
    ) -> list[Trajectory]:
        """Deal out whole groups until each has come back; the answer is in the order asked."""
        played: dict[str, Trajectory] = {}
        pending = _groups(asked, spec_of=spec_of)
        for _ in range(_MAX_ATTEMPTS):
            if not pending:
                break
            ids = self.ready_ids()[: len(pending)]
            shares = {id: pending[place :: len(ids)] for place, id in enumerate(ids)}
            replies = self._call(
                {
                    id: partial(
                        call, asked=list(chain.from_iterable(share)), stamps=dict(self._stamps)
                    )
                    for id, share in shares.items()
                }
            )
            self._load(ROLES, ids=[reply.worker_index for reply in replies if reply.is_stale])
            answered = {reply.worker_index for reply in replies}
            lost = sum(len(group) for id in ids if id not in answered for group in shares[id])
            if lost:
                self.num_replayed += lost
                _log.warning("%d episodes were lost with their env runner; playing again", lost)
            for trajectory in (t for reply in replies for t in reply.trajectories):
                played[trajectory.id] = trajectory
                self.player.crew.on_episode(trajectory)
            pending = [g for g in pending if any(spec_of(a).episode_id not in played for a in g)]
        if pending:
            raise LostRunnersError(
                f"{sum(map(len, pending))} episodes, first {spec_of(pending[0][0]).episode_id!r}, "
                f"did not come back in {_MAX_ATTEMPTS} attempts: whoever plays them dies; look "
                "into the workers' logs, most likely memory"
            )
        return [played[spec_of(entry).episode_id] for entry in asked]

    def ready_ids(self) -> list[int]:
        """The actors to work with. Raises `LostRunnersError` when too few are left for too long."""
        self.revive()
        deadline = time.monotonic() + self.recovery_timeout_s
        while self.num_healthy < max(self.min_healthy, 1):
            if time.monotonic() > deadline:
                raise LostRunnersError(
                    f"{self.num_healthy} of {self.group.num_remote_env_runners()} env runners are "
                    f"alive, and {max(self.min_healthy, 1)} did not come back in "
                    f"{self.recovery_timeout_s:g} s; look into the workers' logs, then resume from "
                    "the last checkpoint"
                )
            time.sleep(_QUICK_PROBE_S)
            self.revive(timeout_s=_SLOW_PROBE_S)
        return self._healthy_ids()

    def _healthy_ids(self) -> list[int]:
        return sorted(int(id) for id in self.group.healthy_env_runner_ids())

    def _call(self, calls: Mapping[int, Callable[[DynaEnvRunner], Reply]]) -> list[Reply]:
        """Call actors by number, all at once, and wait. Those that died are left out.

        Raises `RuntimeError` with the traceback when the code fails, not the machine.
        """
        if not calls:
            return []
        replies: list[Reply] = self.group.foreach_env_runner(
            cast(Any, list(calls.values())),
            kwargs=[{} for _ in calls],
            remote_worker_ids=list(calls),
            local_env_runner=False,
            timeout_seconds=self.sample_timeout_s,
        )
        silent = set(calls) - {reply.worker_index for reply in replies}
        for id in sorted(silent & set(self._healthy_ids())):
            self.lose(id, hangs=f"has not answered in {self.sample_timeout_s:g} s")
        for reply in replies:
            METER.add(reply.usage)
            if reply.error:
                raise RuntimeError(f"env runner {reply.worker_index} failed:\n{reply.error}")
            if reply.stalled:
                self.lose(reply.worker_index, hangs=reply.stalled)
        return [reply for reply in replies if not reply.stalled]


def _play(runner: DynaEnvRunner, *, asked: list[EpisodeSpec], stamps: Stamps) -> Reply:
    return runner.sample(specs=asked, stamps=stamps)


def _imagine(runner: DynaEnvRunner, *, asked: list[Dream], stamps: Stamps) -> Reply:
    return runner.sample(dreams=asked, stamps=stamps)


def _load(runner: DynaEnvRunner, *, role: str, ref: Any, stamp: int) -> Reply:
    weights: Weights | PushedWeights = ref if isinstance(ref, PushedWeights) else ray.get(ref)
    return runner.load(role, weights=weights, stamp=stamp)


def _groups(asked: Sequence[_T], *, spec_of: Callable[[_T], EpisodeSpec]) -> list[list[_T]]:
    groups: dict[str, list[_T]] = {}
    for entry in asked:
        spec = spec_of(entry)
        groups.setdefault(spec.group_id or f"\x00{spec.episode_id}", []).append(entry)
    return list(groups.values())
