"""Imagination that goes on while the policy learns, on rollout actors that may die."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dyna.config import ImaginationConfig, PluginConfig, RunConfig
from dyna.protocols import PolicyLearner
from dyna.rllib import Dyna, DynaConfig
from dyna.types import Metrics, Source, Trajectory, TrajectoryGroup
from tests.cluster.test_engine_actors import with_engines
from tests.cluster.tiny_build import tiny_config

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

NUM_DREAMS, GROUP_SIZE, MAX_STALENESS = 24, 2, 2


class Class:
    """A learner that lets others see what it learns, before it does."""

    def __init__(self, learner: PolicyLearner) -> None:
        self._learner = learner
        self.dreams: list[Trajectory] = []
        self.before_lesson: Callable[[], None] = lambda: None

    @property
    def version(self) -> int:
        version: int = self._learner.version  # type: ignore[attr-defined]
        return version

    def imitate(self, demonstrations: Sequence[Trajectory]) -> Metrics:
        return self._learner.imitate(demonstrations)

    def update(self, groups: Sequence[TrajectoryGroup]) -> Metrics:
        found = [t for group in groups for t in group.trajectories]
        dreams = [t for t in found if t.source is Source.IMAGINED]
        for turn in (turn for t in dreams for turn in t.new_turns):
            assert 0 <= self.version - turn.action.policy_version <= MAX_STALENESS
        if dreams:
            self.before_lesson()
        self.dreams += dreams
        return self._learner.update(groups)


def streaming_config(model_folder: str, *, output: Path) -> RunConfig:
    """Two actors dream while the policy learns."""
    config = tiny_config(model_folder, output=str(output), num_env_runners=2)
    praise = PluginConfig(name="tests.e2e.tiny_run:Praise")
    return replace(
        config,
        policy_learner=replace(config.policy_learner, algorithm=praise),
        engine=replace(config.engine, request_timeout_s=5.0),
        imagination=ImaginationConfig(
            episodes_per_round=NUM_DREAMS,
            batches_per_round=4,
            group_size=GROUP_SIZE,
            horizon=3,
            max_staleness=MAX_STALENESS,
        ),
    )


def watched(config: RunConfig) -> tuple[Dyna, Class]:
    """A run of which round 0 is played, and those who learn in it."""
    algorithm = Dyna(DynaConfig().dyna(run_config=config, build="tests.cluster.tiny_build"))
    learners = Class(algorithm.run.loop.policy_learner)
    algorithm.run.loop.policy_learner = learners
    algorithm.train()
    return algorithm, learners


@pytest.fixture(scope="module")
def pair(local_ray: str, model_folder: str, tmp_path_factory: Any) -> Iterator[tuple[Dyna, Class]]:
    config = streaming_config(model_folder, output=tmp_path_factory.mktemp("streaming"))
    algorithm, learners = watched(config)
    yield algorithm, learners
    algorithm.stop()


def accounted(learners: Class, result: dict[str, Any]) -> bool:
    """Every dream of the round was learned from once or dropped with its group."""
    sizes = Counter(t.group_id for t in learners.dreams)
    assert set(sizes.values()) == {GROUP_SIZE}
    dropped = result["dyna"]["imagined/dropped_stale_groups"]
    return len(learners.dreams) + dropped * GROUP_SIZE == NUM_DREAMS


def test_dreams_are_learned_from_as_they_end(pair: tuple[Dyna, Class]) -> None:
    algorithm, learners = pair
    before = learners.version
    result = algorithm.train()
    assert learners.version - before >= 4
    assert accounted(learners, result)
    assert result["dyna"]["imagined/episodes"] == NUM_DREAMS
    assert result["dyna"]["imagined/largest_staleness"] <= MAX_STALENESS
    assert result["dyna"]["time/replayed_episodes"] == 0


def test_dreams_of_shared_engines_are_learned_from_as_they_end(
    local_ray: str, model_folder: str, tmp_path: Path
) -> None:
    """Engine actors take new weights while conversations go on."""
    config = with_engines(streaming_config(model_folder, output=tmp_path), num_actors=1)
    algorithm, learners = watched(config)
    try:
        before = learners.version
        result = algorithm.train()
        assert learners.version - before >= 4
        assert accounted(learners, result)
        versions = {turn.action.policy_version for t in learners.dreams for turn in t.new_turns}
        assert len(versions) > 1
    finally:
        algorithm.stop()


def test_a_run_goes_on_from_a_checkpoint(pair: tuple[Dyna, Class], tmp_path: Path) -> None:
    algorithm, learners = pair
    algorithm.save_to_path(tmp_path)
    again = Dyna.from_checkpoint(tmp_path)
    try:
        assert again.run.loop.policy_learner.version == learners.version  # type: ignore[attr-defined]
        result = again.train()
        assert result["dyna"]["round"] == 2
        assert result["dyna"]["imagined/episodes"] == NUM_DREAMS
    finally:
        again.stop()


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_what_a_runner_was_dreaming_that_died_or_hangs_is_dreamt_again(
    fault: str, pair: tuple[Dyna, Class]
) -> None:
    algorithm, learners = pair
    learners.dreams.clear()
    order = Path(algorithm.run_config.output) / f"{fault}_act"
    before = algorithm.crew.num_replayed

    def strike() -> None:
        """Whoever acts next is struck: some are dreaming, and more begin after this lesson."""
        learners.before_lesson = lambda: None
        order.write_text(str(os.getpid()))

    learners.before_lesson = strike
    result = algorithm.train()
    assert order.with_name(f"{fault}_act.done").exists()
    assert accounted(learners, result)
    assert algorithm.crew.num_replayed - before >= GROUP_SIZE
