"""`tiny` as a model's path: the base in the words of the run's own first real episodes."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import PreTrainedModel

from dyna.config import ModelConfig, RunConfig
from dyna.configuring import ConfigError, load, load_saved
from dyna.files import read_json
from dyna.rendering import Renderer
from dyna.tokenizer import train_open_tokenizer
from dyna.tracking import read_metrics
from dyna.training.models import BASE_MODEL, load_model, load_tokenizer
from experiments.journal import ExperienceJournal
from experiments.plan import print_plan
from experiments.run import evaluate, run
from experiments.tiny.making import (
    FOLDER,
    RECORD,
    make_tiny_model,
    play_opening,
    seconds_played,
    with_tiny_model,
)
from experiments.tiny.transfer import Beginning, transfer_vocabulary

SETTINGS = (
    "name=tiny", "rounds=1", "world.params={rooms: [kitchen]}", "world.max_turns=6",
    "policy.model.path=tiny", "world_model.model.path=tiny", "policy_learner.imitation_epochs=1",
    "world_model_learner.first_epochs=1", "world_model_learner.epochs=1",
    "real.demonstrations=4", "real.explorations=3", "real.episodes_per_round=2",
    "imagination.episodes_per_round=4", "imagination.batches_per_round=1",
    "imagination.group_size=2", "imagination.horizon=2", "evaluation.num_tasks=2",
    "evaluation.fidelity_episodes=2",
)  # fmt: skip


@pytest.fixture
def config() -> RunConfig:
    return load(overrides=SETTINGS)


def quiet() -> Console:
    return Console(file=io.StringIO())


def test_a_run_makes_its_model_and_spends_no_episode_twice(
    config: RunConfig, tmp_path: Path
) -> None:
    run(config, folder=tmp_path, console=quiet())
    record = read_json(tmp_path / FOLDER / RECORD)
    (_, first), (_, last) = read_metrics(tmp_path)
    assert record["real_episodes"] == first["ledger/real_episodes"] == 4 + 3
    assert record["real_steps"] == first["ledger/real_steps"]
    assert last["ledger/real_episodes"] == 4 + 3 + 2
    assert first["time/act_s"] >= record["seconds_played"] > 0
    # The saved config means the same run elsewhere, so no folder of this machine is in it.
    assert load_saved(tmp_path / "config.yaml") == config


def test_a_folder_that_was_lost_is_made_again_as_it_was_without_new_episodes(
    config: RunConfig, tmp_path: Path
) -> None:
    run(config, folder=tmp_path, console=quiet())
    before = (tmp_path / FOLDER / "model.safetensors").read_bytes()
    tokenizer = (tmp_path / FOLDER / "tokenizer.json").read_bytes()
    shutil.rmtree(tmp_path / FOLDER)
    evaluate(tmp_path, console=quiet())
    assert (tmp_path / FOLDER / "model.safetensors").read_bytes() == before
    assert (tmp_path / FOLDER / "tokenizer.json").read_bytes() == tokenizer


def test_the_opening_is_kept_in_the_journal_for_the_run(config: RunConfig, tmp_path: Path) -> None:
    made = with_tiny_model(config, folder=tmp_path, console=quiet())
    assert made.policy.model.path == made.world_model.model.path == str(tmp_path / FOLDER)
    kept = ExperienceJournal(tmp_path / "experience").read(0)
    assert kept is not None and len(kept) == 7
    assert seconds_played(tmp_path) > 0
    assert with_tiny_model(config, folder=tmp_path, console=quiet()) == made


def test_other_models_are_left_as_they_are(config: RunConfig, tmp_path: Path) -> None:
    other = replace(config.policy, model=ModelConfig(path=BASE_MODEL))
    mixed = replace(config, policy=other)
    made = with_tiny_model(mixed, folder=tmp_path, console=quiet())
    assert made.policy.model.path == BASE_MODEL
    assert made.world_model.model.path == str(tmp_path / FOLDER)
    none = replace(mixed, world_model=replace(config.world_model, model=other.model))
    assert with_tiny_model(none, folder=tmp_path / "unused", console=quiet()) is none
    assert not (tmp_path / "unused").exists()


def test_without_real_episodes_there_are_no_words_to_learn(
    config: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"real\.demonstrations"):
        make_tiny_model([], folder=tmp_path / "model", config=config)
    assert not (tmp_path / "model").exists()


def test_outside_a_run_the_name_stands_for_nothing() -> None:
    with pytest.raises(ConfigError, match=r"experiments\.tiny_model"):
        load_model(ModelConfig(path="tiny"))


def test_a_plan_measures_a_model_like_the_one_of_the_run(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    console = Console(file=io.StringIO(), width=150)
    print_plan(config, console=console)
    assert isinstance(console.file, io.StringIO)
    assert "expected time" in console.file.getvalue()
    assert not list(tmp_path.iterdir())


def embedding_rows(model: PreTrainedModel) -> torch.Tensor:
    rows = model.get_input_embeddings().weight
    assert isinstance(rows, torch.Tensor)
    return rows


def test_what_the_base_knows_is_kept_and_new_words_differ() -> None:
    base = ModelConfig(path=BASE_MODEL)
    model, old = load_model(base), load_tokenizer(base)
    new = train_open_tokenizer(
        [["You move the zorblax 1 to the kitchen of gloom, a kitchen, gloom"]] * 4
    )
    made = transfer_vocabulary(model, old=old, new=new, max_context=2048)
    rows = embedding_rows(made)
    theirs = embedding_rows(model)
    assert torch.equal(rows[new.get_vocab()["<|end|>"]], theirs[old.get_vocab()["<|end|>"]])
    words = [new.get_vocab()[token] for token in ("zorblax", "kitchen", "gloom")]
    likeness = torch.nn.functional.cosine_similarity(rows[words][:, None], rows[words][None], dim=2)
    assert (likeness - torch.eye(3)).max() < 0.95
    norms = rows[words].norm(dim=1)
    assert ((norms > 1.0) & (norms < 4.0)).all()
    assert torch.equal(
        made.state_dict()["model.layers.1.self_attn.q_proj.weight"],
        model.state_dict()["model.layers.1.self_attn.q_proj.weight"],
    )
    assert made.config.max_position_embeddings == 2048
    again = transfer_vocabulary(model, old=old, new=new, max_context=2048)
    assert torch.equal(embedding_rows(again), rows)


def test_a_random_beginning_shares_nothing_with_the_base() -> None:
    base = ModelConfig(path=BASE_MODEL)
    model, old = load_model(base), load_tokenizer(base)
    made = transfer_vocabulary(model, old=old, new=old, max_context=64, beginning=Beginning.RANDOM)
    ours, theirs = made.state_dict(), model.state_dict()
    name = "model.layers.0.self_attn.o_proj.weight"
    assert ours[name].shape == theirs[name].shape and not torch.equal(ours[name], theirs[name])


def test_the_made_tokenizer_renders_a_transcript(config: RunConfig, tmp_path: Path) -> None:
    episodes, _ = play_opening(config)
    make_tiny_model(episodes, folder=tmp_path / "model", config=config)
    place = ModelConfig(path=str(tmp_path / "model"))
    renderer = Renderer(load_tokenizer(place), max_context=1024)
    for episode in episodes:
        sample = renderer.model_sample(episode, use_hidden_state=True)
        assert sample is not None
        said = renderer.encode(episode.turns[0].outcome.observation)
        assert renderer.decode(said) == episode.turns[0].outcome.observation
