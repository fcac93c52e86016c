"""A run whose expert and world model are served, against a scripted server on loopback."""

from __future__ import annotations

import io
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dyna import checkpoint
from dyna.configuring import load
from dyna.envs.corridor import CorridorWorld
from dyna.spending import METER, SpendLimitError
from dyna.testing import byte_tokenizer, tiny_model
from dyna.tracking import read_metrics
from dyna.types import Metrics
from experiments.build import build_player, build_run, build_trainers
from experiments.run import run
from tests.unit.dyna.engines.loopback_server import Loopback, Reaction, serving
from worldmodels.chat import ChatWorldModel

WAY = CorridorWorld(num_doors=2, max_turns=3).way


@pytest.fixture
def server() -> Generator[Loopback]:
    with serving(Loopback(say=say)) as loopback:
        yield loopback
    METER.open(limit=0.0)


def say(body: dict[str, Any]) -> str:
    """The way through the corridor to a policy; to a world model's question, a plain answer."""
    if "messages" not in body:
        return "go"
    if "[reward R]" in body["messages"][0]["content"]:
        return "A room with two doors. [reward 0]"
    return WAY[(len(body["messages"]) - 2) // 2 % len(WAY)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tokenizer = byte_tokenizer()
    tiny_model(len(tokenizer), hidden_size=32, num_layers=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings(loopback: Loopback, model: Path, **more: Any) -> list[str]:
    priced = loopback.settings | {"prompt_price": 1.0, "completion_price": 10.0}
    fields: dict[str, Any] = {
        "name": "served",
        "rounds": 1,
        "world.name": "corridor",
        "world.params": {"num_doors": 2, "max_turns": 3},
        "world.max_turns": 3,
        "policy.model.path": str(model),
        "policy.model.max_context": 1024,
        "policy.max_new_tokens": 4,
        "policy_learner.imitation_epochs": 1,
        "policy_learner.algorithm": {"name": "grpo"},
        "world_model.name": "openai",
        "world_model.params": {"server": priced, "num_examples": 2},
        "real.demonstrations": 2,
        "real.expert": {"name": "openai", "params": {"server": priced}},
        "real.explorations": 2,
        "real.exploration": {"name": "random"},
        "real.episodes_per_round": 2,
        "imagination.episodes_per_round": 2,
        "imagination.batches_per_round": 1,
        "imagination.group_size": 2,
        "imagination.horizon": 2,
        "evaluation.num_tasks": 2,
        "evaluation.split": "valid_unseen",
        "evaluation.imagined": False,
        "evaluation.fidelity_episodes": 0,
    } | more
    return [f"{name}={json.dumps(value)}" for name, value in fields.items()]


def play(changes: list[str], *, folder: Path, resume: bool = False) -> list[tuple[int, Metrics]]:
    run(load(overrides=changes), folder=folder, console=Console(file=io.StringIO()), resume=resume)
    return list(read_metrics(folder))


def test_demonstrations_are_imitated_dreams_are_predicted_and_all_of_it_is_counted(
    server: Loopback, model: Path, tmp_path: Path
) -> None:
    first, last = (metrics for _, metrics in play(settings(server, model), folder=tmp_path / "r"))
    assert first["ledger/demonstration_wins"] == first["policy/imitation_samples"] == 2.0
    assert first["ledger/server_calls"] == first["ledger/demonstration_steps"]
    assert last["model/examples"] == 2.0
    assert last["ledger/imagined_steps"] == 4.0
    assert last["ledger/server_calls"] == last["ledger/demonstration_steps"] + 4.0
    # The loopback server counts 100 prompt and 10 completion tokens for each call.
    assert last["ledger/server_cost"] == pytest.approx(last["ledger/server_calls"] * 200 / 1e6)
    asked = server.calls[-1]["messages"][0]["content"]
    assert asked.count("Example of real answers.") == 2


def test_what_was_spent_is_remembered_by_a_resumed_run(
    server: Loopback, model: Path, tmp_path: Path
) -> None:
    changes = settings(server, model)
    (*_, (_, once)) = play(changes, folder=tmp_path / "r")
    more = settings(server, model, rounds=2)
    (*_, (_, twice)) = play(more, folder=tmp_path / "r", resume=True)
    assert twice["ledger/server_calls"] == once["ledger/server_calls"] + 4.0
    assert twice["model/version"] == once["model/version"] + 1.0
    limited = settings(server, model, rounds=3, max_spend=once["ledger/server_cost"])
    with pytest.raises(Exception, match="max_spend"):
        play(limited, folder=tmp_path / "r", resume=True)
    newest = checkpoint.latest(tmp_path / "r")
    assert newest is not None and newest.name.endswith("2")


def test_an_expert_that_spends_too_much_ends_the_run(
    server: Loopback, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpendLimitError, match="max_spend"):
        play(settings(server, model, max_spend=0.0005), folder=tmp_path / "r")


def test_an_experts_failed_call_is_one_failed_demonstration(
    server: Loopback, model: Path, tmp_path: Path
) -> None:
    server.script = [Reaction(status=400)]
    (_, first), _ = play(settings(server, model), folder=tmp_path / "r")
    assert first["ledger/demonstration_failures"] == 1.0
    assert first["policy/imitation_samples"] == 1.0
    assert first["ledger/server_failed_calls"] == 1.0


def test_with_a_served_engine_nobody_learns(server: Loopback, model: Path) -> None:
    config = load(
        overrides=settings(
            server,
            model,
            **{"engine.name": "openai", "engine.params": {"server": server.settings}},
        )
    )
    player = build_player(config)
    assert build_trainers(config) == {}
    made = build_run(config, player=player, crew=player.crew, trainers={})
    assert "policy" not in made.published


def test_examples_are_published_to_players_elsewhere(server: Loopback, model: Path) -> None:
    config = load(overrides=settings(server, model))
    player, elsewhere = build_player(config), build_player(config)
    trainers = build_trainers(config)
    made = build_run(config, player=player, crew=player.crew, trainers=trainers)
    ours, theirs = player.crew.model, elsewhere.crew.model
    assert isinstance(ours, ChatWorldModel) and isinstance(theirs, ChatWorldModel)
    ours.load_weights({"examples": ["one"]}, version=4)
    weights = made.published["world_model"]()
    elsewhere.stores["world_model"].load_weights(weights.tensors, version=weights.version)
    assert theirs.weights() == {"examples": ["one"]} and theirs.version == 4
