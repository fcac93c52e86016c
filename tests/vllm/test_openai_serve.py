"""The engine, policy, expert and world model `openai` against vLLM's own server on loopback."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from transformers import AutoModelForCausalLM

from dyna import checkpoint
from dyna.configuring import ConfigError, load
from dyna.engines.contract import check_engine
from dyna.engines.openai import ChatServer, OpenAIEngine
from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Completion, Engine, GenerationRequest
from dyna.rendering import ContextOverflow
from dyna.spending import Meter
from dyna.tracking import read_metrics
from dyna.types import Metrics
from experiments.run import run
from tests.vllm.serving import MAX_CONTEXT, save_model, served

pytestmark = pytest.mark.vllm

STOP = 3
"""`<|im_end|>` of the byte tokenizer."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    save_model(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[dict[str, Any]]:
    with served(model, name="tiny") as settings:
        yield settings


@pytest.fixture(scope="module")
def engine(server: dict[str, Any]) -> OpenAIEngine:
    return OpenAIEngine(server, max_context=MAX_CONTEXT)


def request(index: int, **changes: Any) -> GenerationRequest:
    fields: dict[str, Any] = {
        "conversation_id": f"c{index}",
        "prompt_ids": tuple(range(5 + index, 45 + index)),
        "max_new_tokens": 16,
        "stop_ids": (STOP,),
        "temperature": 0.0,
        "seed": index,
    }
    return GenerationRequest(**(fields | changes))


def answers(engine: Engine, asked: list[GenerationRequest]) -> list[Completion]:
    async def together() -> list[Completion]:
        return list(await asyncio.gather(*map(engine.generate, asked)))

    return asyncio.run(together())


def test_it_satisfies_the_contract(engine: OpenAIEngine) -> None:
    check_engine(engine, prompt=tuple(range(5, 60)), stop_ids=(STOP,))
    # With many stop tokens some continuation ends by one.
    check_engine(engine, prompt=tuple(range(5, 60)), stop_ids=tuple(range(3, 120)))


def test_it_agrees_with_transformers(engine: OpenAIEngine, model: Path) -> None:
    ours = TransformersEngine(AutoModelForCausalLM.from_pretrained(model), max_context=MAX_CONTEXT)
    choices = ((50, 51, 52, STOP), (50, 53, STOP), (50, 51, 60, STOP), (9, STOP))
    asked = [request(index) for index in range(6)]
    asked += [request(index, choices=choices) for index in range(6)]
    for one, other in zip(answers(engine, asked), answers(ours, asked), strict=True):
        assert one.token_ids == other.token_ids and one.finished == other.finished
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_sampled_choices_are_choices_and_the_seed_decides_which(engine: OpenAIEngine) -> None:
    choices = ((50, 51, STOP), (50, 52, STOP), (60, STOP))
    asked = [request(0, seed=seed, temperature=2.0, choices=choices) for seed in range(24)]
    said = [completion.token_ids for completion in answers(engine, asked)]
    assert set(said) <= set(choices) and len(set(said)) > 1
    assert said == [completion.token_ids for completion in answers(engine, asked)]


def test_chat_tells_log_probs_and_counts_tokens(server: dict[str, Any]) -> None:
    meter = Meter()
    partner = ChatServer(server | {"prompt_price": 1.0}, meter=meter)
    reply = asyncio.run(
        partner.chat([("user", "hello")], max_tokens=4, temperature=0.0, seed=1, log_probs=True)
    )
    assert len(reply.log_probs) == 4 and not reply.finished
    usage = meter.take()
    assert usage.calls == 1 and usage.completion_tokens == 4
    assert usage.cost == pytest.approx(usage.prompt_tokens / 1e6) and usage.prompt_tokens > 5
    with pytest.raises(ContextOverflow):
        asyncio.run(
            partner.chat([("user", "x" * 2 * MAX_CONTEXT)], max_tokens=4, temperature=0.0, seed=1)
        )


def test_a_name_that_is_not_served_is_named(server: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="did you mean `tiny`"):
        OpenAIEngine(server | {"model_name": "tinny"}, max_context=64)


def settings(model: Path, **more: Any) -> list[str]:
    fields: dict[str, Any] = {
        "name": "served",
        "rounds": 1,
        "world.name": "corridor",
        "world.params": {"num_doors": 2, "max_turns": 3},
        "world.max_turns": 3,
        "policy.model.path": str(model),
        "policy.model.max_context": 1024,
        "policy_learner.ref_kl": 0.0,
        "world_model.model.path": str(model),
        "world_model.model.max_context": 1024,
        "world_model.max_new_tokens": 8,
        "real.demonstrations": 3,
        "real.explorations": 3,
        "real.exploration": {"name": "random"},
        "real.episodes_per_round": 2,
        "imagination.episodes_per_round": 4,
        "imagination.batches_per_round": 1,
        "imagination.group_size": 2,
        "imagination.horizon": 3,
        "evaluation.num_tasks": 2,
        "evaluation.split": "valid_unseen",
        "evaluation.fidelity_episodes": 2,
    } | more
    return [f"{name}={json.dumps(value)}" for name, value in fields.items()]


def play(changes: list[str], *, folder: Path) -> tuple[Metrics, dict[str, Any]]:
    """The last round's numbers and what the ledger kept."""
    run(load(overrides=changes), folder=folder, console=Console(file=io.StringIO()))
    newest = checkpoint.latest(folder)
    assert newest is not None
    (ledger,) = newest.rglob("ledger.json")
    return list(read_metrics(folder))[-1][1], json.loads(ledger.read_text())


def test_a_run_learns_from_an_expert_and_dreams_in_a_model_that_are_served(
    server: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    priced = server | {"prompt_price": 1.0, "completion_price": 2.0}
    metrics, ledger = play(
        settings(
            model,
            **{
                "real.expert": {"name": "openai", "params": {"server": priced}},
                "world_model.name": "openai",
                "world_model.params": {"server": priced, "num_examples": 2},
                "policy_learner.algorithm": {"name": "grpo"},
            },
        ),
        folder=tmp_path / "run",
    )
    assert metrics["ledger/demonstration_episodes"] == 3.0
    assert metrics["ledger/demonstration_failures"] == 0.0
    assert metrics["model/examples"] == 2.0 and metrics["model/version"] == 2.0
    assert metrics["ledger/imagined_episodes"] == 4.0
    calls, cost = metrics["ledger/server_calls"], metrics["ledger/server_cost"]
    assert calls >= metrics["ledger/demonstration_steps"] + 4
    assert cost == pytest.approx(
        (metrics["ledger/server_prompt_tokens"] + 2.0 * metrics["ledger/server_completion_tokens"])
        / 1e6
    )
    assert ledger["server"]["calls"] == calls


def test_a_served_model_plays_and_predicts_as_policy_and_as_engine(
    server: dict[str, Any], model: Path, tmp_path: Path
) -> None:
    """The policy talks messages; the world model's engine asks by token ids; nobody learns."""
    metrics, ledger = play(
        settings(
            model,
            **{
                "policy.name": "openai",
                "policy.params": {"server": server},
                "engine.name": "openai",
                "engine.params": {"server": server},
                "real.expert": {"name": "random"},
                "evaluation.imagined": False,
            },
        ),
        folder=tmp_path / "run",
    )
    assert metrics["ledger/real_failures"] == 0.0
    assert metrics["ledger/imagined_answer_tokens"] > 0.0
    assert "policy/version" not in metrics and ledger["server"]["failed_calls"] == 0


def test_a_spend_limit_ends_the_run(server: dict[str, Any], model: Path, tmp_path: Path) -> None:
    dear = server | {"prompt_price": 1e6}
    with pytest.raises(Exception, match="max_spend"):
        play(
            settings(
                model,
                max_spend=100.0,
                **{"real.expert": {"name": "openai", "params": {"server": dear}}},
            ),
            folder=tmp_path / "run",
        )
