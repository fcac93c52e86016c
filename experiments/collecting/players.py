"""Plays the parts of a collection, here or on Ray actors; the episodes are the same.

A worker that dies, say because a world took its process along, is replaced and its part played
again. A part that kills its worker twice is played one episode at a time, and an episode that then
still kills it is recorded as lost.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dyna.config import ImaginationConfig, PluginConfig, RunConfig, RuntimeConfig, WorldModelConfig
from dyna.crew import LocalCrew
from dyna.plugins import build
from dyna.protocols import HasExpert, HasExplorer, HasSplits, Policy, World
from dyna.rollout import EpisodeSpec
from dyna.seeding import derive_seed
from dyna.types import Start, StopReason, Trajectory
from experiments.collecting.config import POLICY, CollectConfig
from experiments.collecting.schedule import Part, ScheduleError

_log = logging.getLogger(__name__)

_MAX_DEATHS = 2
_CLOSE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    part: Part
    trajectories: list[Trajectory]
    """In the order of the part's specs."""
    seconds: float
    """Spent by the worker."""
    fingerprints: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of the games, by task id; empty where the world cannot tell, or nobody asked."""


def _ignore(_: Trajectory) -> None:
    return


class PartPlayer:
    """A world and those who play in it, in one process; made when the first part is played."""

    def __init__(
        self,
        config: CollectConfig,
        *,
        behaviors: Sequence[str],
        on_episode: Callable[[Trajectory], None] = _ignore,
    ) -> None:
        self._config = config
        self._behaviors = tuple(behaviors)
        self._on_episode = on_episode
        self._crew: LocalCrew | None = None

    def play(self, part: Part) -> Played:
        """Raises what the world or a policy raises when it cannot be made."""
        began = time.monotonic()
        if self._crew is None:
            self._crew = _make_crew(self._config, behaviors=self._behaviors)
            self._crew.on_episode = self._on_episode
        trajectories = self._crew.play(part.specs)
        return Played(
            part=part,
            trajectories=trajectories,
            seconds=time.monotonic() - began,
            fingerprints=_fingerprints(self._crew.world, part=part),
        )

    def close(self) -> None:
        if self._crew is not None:
            self._crew.close()


def play_parts(
    parts: Sequence[Part],
    *,
    config: CollectConfig,
    behaviors: Sequence[str],
    on_episode: Callable[[Trajectory], None] = _ignore,
) -> Iterator[Played]:
    """Every part, as each is done. `on_episode` is told of episodes as they end, or, with workers,
    as their part does."""
    if not parts:
        return
    if config.num_workers == 0:
        player = PartPlayer(config, behaviors=behaviors, on_episode=on_episode)
        try:
            for part in parts:
                yield player.play(part)
        finally:
            player.close()
        return
    for played in _on_ray(parts, config=config, behaviors=behaviors):
        for trajectory in played.trajectories:
            on_episode(trajectory)
        yield played


def _on_ray(
    parts: Sequence[Part], *, config: CollectConfig, behaviors: Sequence[str]
) -> Iterator[Played]:
    from dyna.cluster.connection import connect, disconnect

    num = min(config.num_workers, len(parts))
    started = connect(RuntimeConfig(num_env_runners=num, address=config.address))
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    remote: Any = ray.remote(PartPlayer)

    def hire() -> Any:
        return remote.options(num_cpus=1).remote(config, behaviors=behaviors)

    waiting, deaths = deque(parts), Counter[str]()
    working: dict[Any, tuple[Any, Part]] = {}
    idle = [hire() for _ in range(num)]
    try:
        while waiting or working:
            while waiting and idle:
                actor, part = idle.pop(), waiting.popleft()
                working[actor.play.remote(part)] = (actor, part)
            ready, _ = ray.wait(list(working), num_returns=1)
            actor, part = working.pop(ready[0])
            try:
                played: Played = ray.get(ready[0])
            except RayActorError as error:
                deaths[part.file] += 1
                _log.warning("the worker of %s died: %s", part.file, _first_line(error))
                if deaths[part.file] >= _MAX_DEATHS:
                    yield _one_by_one(part, hire=hire)
                else:
                    waiting.append(part)
                if waiting:
                    idle.append(hire())
                continue
            except RayTaskError as error:
                raise error.cause from None
            idle.append(actor)
            yield played
    finally:
        _dismiss([*idle, *(actor for actor, _ in working.values())])
        if started:
            disconnect()


def _one_by_one(part: Part, *, hire: Callable[[], Any]) -> Played:
    import ray
    from ray.exceptions import RayActorError

    began, actor = time.monotonic(), hire()
    trajectories: list[Trajectory] = []
    fingerprints: dict[str, str] = {}
    for spec in part.specs:
        try:
            played: Played = ray.get(actor.play.remote(replace(part, specs=(spec,))))
            trajectories += played.trajectories
            fingerprints |= played.fingerprints
        except RayActorError as error:
            trajectories.append(_lost(spec, error=_first_line(error)))
            actor = hire()
    _dismiss([actor])
    return Played(
        part=part,
        trajectories=trajectories,
        seconds=time.monotonic() - began,
        fingerprints=fingerprints,
    )


def _dismiss(actors: Sequence[Any]) -> None:
    """Let the workers close their worlds, then end them."""
    import ray

    closing = [actor.close.remote() for actor in actors]
    if closing:
        ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_S)
    for actor in actors:
        ray.kill(actor)


def _fingerprints(world: World, *, part: Part) -> dict[str, str]:
    """After they were played: where a game must be made to be told apart, it is there by now."""
    if not isinstance(world, HasSplits):
        return {}
    return {spec.task.id: world.fingerprint(spec.task) for spec in part.specs}


def _lost(spec: EpisodeSpec, *, error: str) -> Trajectory:
    return Trajectory(
        id=spec.episode_id,
        task=spec.task,
        start=Start(observation=""),
        turns=(),
        stop=StopReason.LOST,
        behavior=spec.behavior,
        error=f"its process died: {error}",
    )


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _make_crew(config: CollectConfig, *, behaviors: Sequence[str]) -> LocalCrew:
    if POLICY in behaviors:
        crew = _policy_crew(config)
    else:
        crew = LocalCrew(
            world=build("environments", config.world),
            behaviors={},
            # Nobody dreams here.
            model=build("world_models", PluginConfig(name="tabular")),
            config=config.world,
            imagination=ImaginationConfig(),
        )
    crew.max_concurrent = config.max_concurrent
    played = {name: crew.behaviors[name] for name in behaviors if name == POLICY}
    for name in behaviors:
        if name != POLICY:
            played[name] = _scripted(config, name=name, world=crew.world)
    crew.behaviors = played
    return crew


def _scripted(config: CollectConfig, *, name: str, world: World) -> Policy:
    offered: dict[str, Any] = {"seed": derive_seed(config.seed, "behavior", name)}
    if isinstance(world, HasExpert):
        offered["expert"] = world.expert
    if isinstance(world, HasExplorer):
        offered["explorer"] = world.explorer
    params: dict[str, Any] = config.params.get(name, {})
    return build("policies", PluginConfig(name=name, params=params), **offered)


def _policy_crew(config: CollectConfig) -> LocalCrew:
    """A crew whose `policy` has the weights of a run's newest checkpoint, or the config's own."""
    from dyna import checkpoint
    from dyna.configuring import load_saved
    from experiments.build import build_player, build_run, build_trainers

    mine = RunConfig(
        seed=config.seed,
        world=config.world,
        policy=config.policy,
        engine=config.engine,
        world_model=WorldModelConfig(name="tabular"),
    )
    if not config.run:
        return build_player(mine).crew
    folder = Path(config.run)
    run = load_saved(folder / "config.yaml")
    found = checkpoint.latest(folder)
    if found is None:
        raise ScheduleError(
            f"run: {folder} has no whole checkpoint, so there is no policy to play; "
            f"`dyna resume {folder}` continues the run"
        )
    mine = replace(mine, policy=run.policy, policy_learner=run.policy_learner, engine=run.engine)
    player = build_player(mine)
    made = build_run(mine, player=player, crew=player.crew, trainers=build_trainers(mine))
    parts = {name: part for name, part in made.parts.items() if name == POLICY}
    checkpoint.restore(found, parts=parts, partial=True)
    player.crew.share_policy()
    return player.crew


__all__ = ["PartPlayer", "Played", "play_parts"]
