"""The loop on rollout actors: the same experience as in one process, whoever dies on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dyna.rllib import Dyna, DynaConfig
from dyna.rollout import EpisodeSpec
from tests.cluster.episodes import played, story
from tests.cluster.tiny_build import tiny_config

pytestmark = pytest.mark.ray

LAST_ROUND = 3


def make(model_folder: str, output: Path, num_env_runners: int) -> Dyna:
    config = tiny_config(model_folder, output=str(output), num_env_runners=num_env_runners)
    return Dyna(DynaConfig().dyna(run_config=config, build="tests.cluster.tiny_build"))


@pytest.fixture(scope="module")
def alone(local_ray: str, model_folder: str, tmp_path_factory: Any) -> Iterator[Dyna]:
    """The whole run with no actors."""
    algorithm = make(model_folder, tmp_path_factory.mktemp("alone"), 0)
    for _ in range(LAST_ROUND + 1):
        algorithm.train()
    yield algorithm
    algorithm.stop()


@pytest.fixture(scope="module")
def output(tmp_path_factory: Any) -> Path:
    return tmp_path_factory.mktemp("pair")


@pytest.fixture(scope="module")
def pair(local_ray: str, model_folder: str, output: Path) -> Iterator[Dyna]:
    """Two actors, before the first round. The tests below play it on, in their order."""
    algorithm = make(model_folder, output, 2)
    yield algorithm
    algorithm.stop()


def ledger(algorithm: Dyna) -> dict[str, float]:
    counts = algorithm.run.loop.ledger.metrics()
    return {name: value for name, value in counts.items() if name.startswith("ledger/real")}


def test_two_runners_play_what_none_plays(alone: Dyna, pair: Dyna) -> None:
    for round in (0, 1):
        result = pair.train()
        assert story(played(pair, round)) == story(played(alone, round))
        assert result["dyna"]["round"] == round
    assert len(played(pair, 1)) == 4
    assert result["dyna"]["time/healthy_env_runners"] == 2
    assert not result["done"]


def test_all_runners_hold_the_same_weights_after_a_push(pair: Dyna) -> None:
    version = pair.run.loop.policy_learner.version  # pyright: ignore
    assert version > 0
    pair.crew.share_policy()
    assert [v["policy"] for v in pair.crew.versions()] == [version, version]


def test_a_runner_with_other_weights_gets_the_right_ones_before_it_plays(pair: Dyna) -> None:
    def forget(runner: Any) -> None:
        runner.player.stores["policy"].weights_version = -1
        runner.stamps["policy"] = 0

    pair.crew.group.foreach_env_runner(forget, remote_worker_ids=[1], local_env_runner=False)
    assert -1 in [v["policy"] for v in pair.crew.versions()]
    pair.crew.play(specs(pair, num=2))
    assert -1 not in [v["policy"] for v in pair.crew.versions()]


def test_an_error_in_the_code_is_raised_here_and_costs_no_runner(pair: Dyna) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)KeyError.*nobody"):
        pair.crew.play(specs(pair, num=2, behavior="nobody"))
    assert pair.crew.num_healthy == 2
    assert pair.crew.revive() == []


def test_a_group_is_played_again_when_its_runner_is_killed(
    alone: Dyna, pair: Dyna, output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (output / "kill_play").write_text(str(os.getpid()))
    result = pair.train()
    assert (output / "kill_play.done").exists()
    assert story(played(pair, 2)) == story(played(alone, 2))
    assert result["dyna"]["time/replayed_episodes"] == 2
    assert "env runners are alive" in caplog.text


def test_a_dream_is_dreamt_again_when_its_runner_is_killed(
    alone: Dyna, pair: Dyna, output: Path
) -> None:
    (output / "kill_imagine").write_text(str(os.getpid()))
    result = pair.train()
    assert (output / "kill_imagine.done").exists()
    assert story(played(pair, 3)) == story(played(alone, 3))
    assert result["done"]
    assert result["dyna"]["imagined/episodes"] == 8
    assert ledger(pair) == ledger(alone)


def test_there_is_no_round_after_the_last(alone: Dyna) -> None:
    with pytest.raises(RuntimeError, match="all 3 rounds are played"):
        alone.train()


def specs(algorithm: Dyna, *, num: int, behavior: str = "policy") -> list[EpisodeSpec]:
    tasks = algorithm.run.loop.world.tasks(split="train", num=num)
    return [EpisodeSpec(task=t, episode_id=f"extra/{t.id}", behavior=behavior) for t in tasks]
