"""A crew that plays in this process: the laptop's, and the one inside each rollout actor."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dyna.config import ImaginationConfig, WorldConfig
from dyna.dream_thread import DreamThread
from dyna.envs.isolation import EnvSource, isolate
from dyna.imagination import Dream, dream_envs
from dyna.protocols import Closeable, Policy, World, WorldModel
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.streaming import DreamStream
from dyna.types import Source, Trajectory


def _nothing(*_: object) -> None:
    return


@dataclass(kw_only=True)
class LocalCrew:
    """Plays real episodes and dreams on this process's event loop; satisfies `dyna.loop.Crew`."""

    world: World
    behaviors: Mapping[str, Policy]
    """Who acts, by `EpisodeSpec.behavior`; dreams are acted by `policy`."""
    model: WorldModel
    config: WorldConfig
    imagination: ImaginationConfig
    max_concurrent: int = 64
    request_timeout_s: float = math.inf
    """Seconds without any answer after which a stream's engines are taken for hung."""
    on_episode: Callable[[Trajectory], None] = _nothing
    publish_policy: Callable[[], None] = _nothing
    """Moves the learned weights to where `behaviors["policy"]` acts from."""
    publish_model: Callable[[], None] = _nothing
    _limits: Limits = field(init=False)
    _envs: EnvSource = field(init=False)
    _dreamers: DreamThread | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._envs = isolate(self.world, config=self.config)
        self._limits = Limits(
            max_turns=self.config.max_turns, step_timeout_s=self.config.step_timeout_s
        )

    def play(self, specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
        """Raises `KeyError` for a behavior that nobody in the crew has."""
        played: dict[str, Trajectory] = {}
        for behavior in dict.fromkeys(spec.behavior for spec in specs):
            episodes = rollout(
                [spec for spec in specs if spec.behavior == behavior],
                policy=self.behaviors[behavior],
                make_env=lambda _: self._envs.make(),
                limits=self._limits,
                source=Source.REAL,
                max_concurrent=self._envs.concurrency(self.max_concurrent),
                on_episode=self.on_episode,
            )
            played |= {trajectory.id: trajectory for trajectory in asyncio.run(episodes)}
        return [played[spec.episode_id] for spec in specs]

    def imagine(self, dreams: Sequence[Dream]) -> list[Trajectory]:
        config = self.imagination
        episodes = rollout(
            [dream.spec for dream in dreams],
            policy=self.behaviors["policy"],
            make_env=dream_envs(
                dreams,
                model=self.model,
                min_confidence=config.min_confidence,
                min_win_confidence=config.min_win_confidence,
            ),
            limits=Limits(max_turns=config.horizon),
            source=Source.IMAGINED,
            max_concurrent=self.max_concurrent,
            model_version=self.model.version,
            on_episode=self.on_episode,
        )
        return asyncio.run(episodes)

    def stream(self, dreams: Sequence[Dream], *, groups_per_update: int) -> DreamStream:
        return DreamStream(
            dreams,
            dreamers=self.open_dreamers(),
            groups_per_update=groups_per_update,
            max_staleness=self.imagination.max_staleness,
            policy_version=lambda: self.behaviors["policy"].version,
            on_episode=self.on_episode,
        )

    def open_dreamers(self) -> DreamThread:
        """A thread that dreams; until it is closed, nobody else may use the engines."""
        if self._dreamers is not None:
            self._dreamers.close()
        self._dreamers = DreamThread(
            policy=self.behaviors["policy"],
            model=self.model,
            config=self.imagination,
            max_concurrent=self.max_concurrent,
            patience_s=self.request_timeout_s,
        )
        return self._dreamers

    def between_steps(self, change: Callable[[], None]) -> None:
        """Change what the engines hold: here, or between two steps of the thread that dreams."""
        if self._dreamers is not None and self._dreamers.is_open:
            self._dreamers.call(change)
        else:
            change()

    def share_policy(self) -> None:
        self.between_steps(self.publish_policy)

    def share_model(self) -> None:
        self.between_steps(self.publish_model)

    def close(self) -> None:
        """End the dreams, the processes of the real world, and the world if it holds something."""
        if self._dreamers is not None:
            self._dreamers.close()
        self._envs.close()
        if isinstance(self.world, Closeable):
            self.world.close()
