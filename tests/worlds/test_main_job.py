"""The main job on every world, as small as it can be: the loop ends, and its counts are whole."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
from rich.console import Console

from dyna.configuring import load
from dyna.envs.catalog import find
from dyna.envs.extras import missing
from dyna.files import read_json
from dyna.tracking import read_metrics
from experiments.cli import find_config
from experiments.run import run
from experiments.tiny.making import FOLDER, RECORD
from tests.worlds.official_data import official

SMALL = (
    "rounds=1", "world.max_turns=4", "world.workers.num=1", "world.step_timeout_s=300",
    "real.demonstrations=1", "real.explorations=1", "real.episodes_per_round=1",
    "policy_learner.imitation_epochs=1", "policy_learner.epochs=1", "policy.max_new_tokens=8",
    "world_model_learner.first_epochs=1", "world_model_learner.epochs=1",
    "world_model_learner.gate.holdout_fraction=0", "world_model.max_new_tokens=16",
    "imagination.episodes_per_round=4", "imagination.batches_per_round=1",
    "imagination.group_size=2", "imagination.horizon=2", "evaluation.every=1",
    "evaluation.num_tasks=1", "evaluation.fidelity_episodes=1",
    # Words of two episodes: other texts are spelled.
    "policy.model.max_context=4096", "world_model.model.max_context=4096",
)  # fmt: skip
EPISODES = 3
"""Real episodes learned from: one shown, one explored, one of the policy's own."""
CHEAP = {
    "scienceworld": ("world.params.tasks=[find-plant]",),
    "textworld": ("world.params.challenge=tw-coin_collector", "world.params.settings.level=1"),
}


@pytest.mark.parametrize("world", ["alfworld", "scienceworld", "textworld", "webshop", "toolbench"])
def test_a_round_of_the_loop_with_a_tiny_model(world: str, tmp_path: Path) -> None:
    info = find(world)
    assert info is not None
    # ALFWorld's games are played in Python unless its own engine is asked for.
    if info.extra and world != "alfworld" and (problems := missing(info.extra)):
        pytest.skip(f"the {info.extra} extra is not installed: {', '.join(problems)}")
    changes = [*SMALL, *CHEAP.get(world, ())]
    if world == "alfworld":
        changes.append(f"world.params.data={official('alfworld_games.jsonl.xz')}")
    config = load(find_config(world), overrides=changes)
    run(config, folder=tmp_path, console=Console(file=io.StringIO()))
    (_, first), (_, last) = read_metrics(tmp_path)
    assert first["ledger/real_episodes"] == 2 and last["ledger/real_episodes"] == EPISODES
    assert last["ledger/real_failures"] == last["ledger/evaluation_failures"] == 0
    assert 0 < last["ledger/real_steps"] <= 4 * EPISODES
    assert last["ledger/imagined_episodes"] == 4
    assert 0 <= last["eval/real_success"] <= 1 and 0 <= last["model/em"] <= 1
    assert math.isfinite(first["model/loss_ce"]) and last["model/scored_turns"] > 0
    record = read_json(tmp_path / FOLDER / RECORD)
    assert record["real_episodes"] == 2 and record["world"] == world
    assert (tmp_path / "report.html").is_file()
