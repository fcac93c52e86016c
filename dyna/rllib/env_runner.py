"""The rollout actor: a `LocalCrew` behind RLlib's `EnvRunner`, with stamped weights.

Any exception that leaves a call kills an RLlib actor, and its restart would hide a bug for ever.
So worlds and policies that break are recorded by `rollout()` as data, and everything else is
handed back as `Reply.error` for the driver to raise. Nobody samples with weights that are not the
ones the driver stamped.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable

from dyna.cluster.engine_actor import PushedWeights
from dyna.cluster.remote_engine import RemoteEngine
from dyna.dream_thread import DreamThread
from dyna.imagination import Dream
from dyna.rllib.parts import POLICY, ROLES, Player, Weights, find_factory, thaw
from dyna.rollout import EpisodeSpec
from dyna.spending import METER, Usage
from dyna.streaming import StalledError
from dyna.types import Trajectory

_log = logging.getLogger(__name__)

Stamps: TypeAlias = dict[str, int]
"""By role, the number of the push that a player's weights came with; 0 as it was built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a call to an env runner comes back with."""

    worker_index: int
    trajectories: tuple[Trajectory, ...] = ()
    is_stale: bool = False
    """It has other weights than it was told to play with, and has played nothing."""
    error: str = ""
    """A traceback: the fault is in the code, not in a world."""
    stalled: str = ""
    """How its dreams hang; nothing else will come of them."""
    usage: Usage = field(default_factory=METER.take)
    """What it has spent on model servers since its last reply."""


class DynaEnvRunner(EnvRunner, Checkpointable):
    """Plays episodes and dreams with parts of its own, made by the configured factory."""

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        factory = find_factory(config.factory)
        self.player: Player = factory.build_player(thaw(config.run_config))
        self.stamps: Stamps = dict.fromkeys(ROLES, 0)
        self._dreamers: DreamThread | None = None
        self._stream = ""
        """Of which they are the dreams."""

    def sample(
        self,
        *,
        specs: Sequence[EpisodeSpec] = (),
        dreams: Sequence[Dream] = (),
        stamps: Mapping[str, int] | None = None,
        **_: Any,
    ) -> Reply:
        """Play `specs` in the real world, then `dreams` in the model, in their order."""
        index = int(self.worker_index or 0)
        if stamps is not None and dict(stamps) != self.stamps:
            return Reply(worker_index=index, is_stale=True)
        try:
            played = self.player.crew.play(specs) if specs else []
            played += self.player.crew.imagine(dreams) if dreams else []
        except Exception:
            _log.exception("an env runner cannot play")
            return Reply(worker_index=index, error=traceback.format_exc())
        self.num_env_steps_sampled_lifetime += sum(len(t.new_turns) for t in played)
        return Reply(worker_index=index, trajectories=tuple(played))

    def begin_dreams(
        self, groups: Sequence[Sequence[Dream]], *, stream: str, stamps: Stamps
    ) -> Reply:
        """Dream in the background, on with what there is of this stream; any other one ends."""
        index = int(self.worker_index or 0)
        try:
            if stream != self._stream or stamps != self.stamps:
                self.end_dreams()
            if stamps != self.stamps:
                return Reply(worker_index=index, is_stale=True)
            if self._dreamers is None:
                self._dreamers, self._stream = self.player.crew.open_dreamers(), stream
            self._dreamers.begin(groups)
        except Exception:
            _log.exception("an env runner cannot dream")
            return Reply(worker_index=index, error=traceback.format_exc())
        return Reply(worker_index=index)

    def collect_dreams(self, *, stream: str) -> Reply:
        """Groups that have ended, after a moment's wait; stale if it knows nothing of them."""
        index = int(self.worker_index or 0)
        if self._dreamers is None or stream != self._stream:
            return Reply(worker_index=index, is_stale=True)
        try:
            played = [t for group in self._dreamers.collect() for t in group]
        except StalledError as error:
            return Reply(worker_index=index, stalled=str(error))
        except Exception:
            _log.exception("an env runner cannot dream")
            return Reply(worker_index=index, error=traceback.format_exc())
        self.num_env_steps_sampled_lifetime += sum(len(t.new_turns) for t in played)
        return Reply(worker_index=index, trajectories=tuple(played))

    def end_dreams(self) -> None:
        """Give up on those under way."""
        if self._dreamers is not None:
            self._dreamers.close()
            self._dreamers = None

    def load(self, role: str, *, weights: Weights | PushedWeights, stamp: int) -> Reply:
        """Take the weights that the driver pushes; of shared engines, which ones to ask for."""
        index = int(self.worker_index or 0)

        def take() -> None:
            store = self.player.stores[role]
            if isinstance(weights, Weights):
                store.load_weights(weights.tensors, version=weights.version)
            else:
                cast(RemoteEngine, store).follow(weights)
            if role == POLICY:
                self.player.crew.behaviors["policy"].version = weights.version

        try:
            self.player.crew.between_steps(take)
        except StalledError as error:
            return Reply(worker_index=index, stalled=str(error))
        except Exception:
            _log.exception("an env runner cannot load weights")
            return Reply(worker_index=index, error=traceback.format_exc())
        self.stamps[role] = stamp
        return Reply(worker_index=index)

    def versions(self) -> dict[str, int]:
        """The version of each role's weights."""
        return {role: store.weights_version for role, store in self.player.stores.items()}

    def process_id(self) -> int:
        return os.getpid()

    def assert_healthy(self) -> None:
        assert self.player.crew is not None

    def get_spaces(self) -> dict[str, tuple[Any, Any]]:
        """None: what is said and heard here is text, which no gym space describes."""
        return {}

    def get_metrics(self) -> Any:
        return self.metrics.reduce()

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Nothing: weights come by `load`, and a player keeps nothing else between calls."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """RLlib sends states without waiting for them to arrive; weights never come this way."""

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (), {"config": self.config, "worker_index": self.worker_index}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        return []

    def stop(self) -> None:
        self.player.crew.close()
