"""`Dyna` under Ray Tune: changed keys, early stopping, killed trials, interrupted sweeps."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from agents.scripted import ExpertPolicy, RandomPolicy
from dyna.config import RunConfig
from dyna.configuring import load
from dyna.rllib import Dyna
from dyna.rllib.tuning import TIME, DynaTrial, best_checkpoint, continued, tuner
from dyna.types import Action, Context

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("local_ray")]


AIMLESS = "tests.cluster.test_tuning:Aimless"


class Frail(ExpertPolicy):
    """Kills its process once, in the round after the first, where `order` lies."""

    def __init__(self, *, expert: Any, order: str, **_: Any) -> None:
        super().__init__(expert)
        self.order = Path(order)

    async def act(self, context: Context) -> Action:
        if self.order.exists() and any(self.order.parent.glob("sweep/*/checkpoint_*")):
            self.order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().act(context)


class Aimless(RandomPolicy):
    """A third one, by another name."""


class InterruptAfterSecond(tune.Callback):
    """Presses Ctrl-C when two trials have ended."""

    def __init__(self) -> None:
        self.ended = 0

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        self.ended += 1
        if self.ended == 2:
            os.kill(os.getpid(), signal.SIGINT)


def small(*changes: str) -> RunConfig:
    """Agents that are written, so that a round takes a second and its success is known."""
    settings = (
        "rounds=2", "world.params={rooms: [kitchen], num_receptacles: 3, num_objects: 2}",
        "world.params.admissible=true", "world.max_turns=30", "policy.name=expert",
        "world_model.name=tabular", "real.demonstrations=0", "real.explorations=0",
        "real.episodes_per_round=2", "imagination.episodes_per_round=0", "evaluation.num_tasks=4",
        "evaluation.imagined=false", "evaluation.fidelity_episodes=0",
    )  # fmt: skip
    return load(overrides=[*settings, *changes])


def played(results: tune.ResultGrid) -> list[tuple[str, int]]:
    """Of each trial that has begun: its policy, and the rounds that it played."""
    return sorted(
        (result.config["run_config"]["policy"]["name"], result.metrics[TIME])
        for result in results
        if result.config and result.metrics
    )


def test_a_sweep_stops_the_worse_is_continued_and_its_best_opened(tmp_path: Path) -> None:
    sweep = tuner(
        small(),
        space={
            "policy.name": tune.grid_search(
                ["expert", "random", "tests.cluster.test_tuning:Aimless"]
            )
        },
        output=tmp_path,
        name="sweep",
        scheduler=ASHAScheduler(time_attr=TIME, max_t=3, grace_period=1, reduction_factor=2),
        max_concurrent=1,
        callbacks=[InterruptAfterSecond()],
    )
    first = played(sweep.fit())
    assert first[:2] == [("expert", 3), ("random", 1)]  # all rounds; stopped after one

    results = continued(tmp_path / "sweep").fit()
    assert played(results)[:2] == first[:2] and not results.errors
    assert len(played(results)) == 3

    best = Dyna.from_checkpoint(best_checkpoint(results))
    assert best.round == 2 and best.run_config.policy.name == "expert"
    assert best.evaluate()["dyna"]["eval/real_success"] == 1.0
    best.stop()


def test_a_killed_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    order = tmp_path / "order"
    order.touch()
    frail = small(
        "policy.name=tests.cluster.test_tuning:Frail", f"policy.params.order={order}", "rounds=2"
    )
    results = tuner(frail, space={}, output=tmp_path, name="sweep").fit()
    assert not order.exists() and not results.errors
    assert results[0].metrics is not None
    assert results[0].metrics[TIME] == 3 and results[0].metrics["dyna"]["round"] == 2
    # Round 0 was not played again: nothing was spent twice.
    assert results[0].metrics["dyna"]["ledger/real_episodes"] == 4


def test_what_a_trial_needs_is_reserved() -> None:
    config = small("runtime.num_env_runners=2", "runtime.cpus_per_env_runner=0.5")
    from dyna.rllib.parts import freeze

    request = DynaTrial.default_resource_request(
        {
            "run_config": freeze(config),
            "factory": "experiments.build",
            "changes": {"runtime.num_env_runners": 3},
        }
    )
    assert len(request.bundles) == 4
