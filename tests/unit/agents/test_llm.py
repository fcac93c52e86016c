"""The LLM policy keeps what was sampled, and survives whatever that is."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.llm import LLMPolicy
from agents.parsers import parse_react
from dyna.config import ActionMode
from dyna.engines.scripted import ScriptedEngine
from dyna.engines.transformers import TransformersEngine
from dyna.protocols import GenerationRequest, Policy
from dyna.rendering import ContextOverflow, Renderer
from dyna.testing import byte_tokenizer, tiny_model
from dyna.types import Action, Context, Outcome, Start, Task, Turn

TASK = Task(id="t/0", world="t", family="t", split="train")
TOKENIZER = byte_tokenizer()
RENDERER = Renderer(TOKENIZER, max_context=256)


def context(
    *,
    turns: tuple[Turn, ...] = (),
    admissible: tuple[str, ...] | None = None,
    greedy: bool = False,
    seed: int = 5,
) -> Context:
    start = Start(observation="A room.", admissible=admissible)
    return Context(
        task=TASK,
        start=start,
        turns=turns,
        length=len(turns),
        episode_id="e1",
        seed=seed,
        greedy=greedy,
    )


def test_the_request_names_conversation_seed_and_temperature() -> None:
    asked: list[GenerationRequest] = []

    def reply(request: GenerationRequest) -> tuple[int, ...]:
        asked.append(request)
        return RENDERER.encode_action("look")

    engine = ScriptedEngine(reply)
    engine.load_weights({}, version=4)
    policy = LLMPolicy(engine, RENDERER, temperature=0.7)
    assert isinstance(policy, Policy)
    action = asyncio.run(policy.act(context()))
    asyncio.run(policy.act(context(greedy=True)))
    assert action.command == action.said == "look"
    assert action.token_ids == RENDERER.encode_action("look")
    assert action.log_probs == (0.0,) * 5
    assert action.policy_version == 4
    assert [request.temperature for request in asked] == [0.7, 0.0]
    assert asked[0].conversation_id == "policy:e1"
    assert asked[0].seed == 5
    assert asked[0].prompt_ids == RENDERER.action_prompt(context())


def test_what_was_thought_is_kept_and_only_the_command_acts() -> None:
    said = "Thought: dark.\nAction: use lamp 1"
    engine = ScriptedEngine(lambda _: RENDERER.encode_action(said))
    policy = LLMPolicy(engine, RENDERER, parser=parse_react, max_new_tokens=100)
    action = asyncio.run(policy.act(context()))
    assert (action.command, action.text) == ("use lamp 1", said)


@settings(max_examples=40, deadline=None)
@given(tokens=st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=40))
def test_garbage_becomes_some_command_and_its_tokens_are_kept(tokens: list[int]) -> None:
    policy = LLMPolicy(ScriptedEngine(lambda _: tokens), RENDERER, max_new_tokens=16)
    action = asyncio.run(policy.act(context()))
    assert list(action.token_ids) == tokens[: len(action.token_ids)]
    assert len(action.token_ids) == len(action.log_probs) <= 16
    assert "\n" not in action.command


def test_ten_thousand_tokens_are_cut_and_nothing_is_a_command() -> None:
    policy = LLMPolicy(ScriptedEngine(lambda _: (100,) * 10_000), RENDERER, max_new_tokens=16)
    assert len(asyncio.run(policy.act(context())).token_ids) == 16
    policy = LLMPolicy(ScriptedEngine(lambda _: RENDERER.stop_ids), RENDERER)
    silent = asyncio.run(policy.act(context()))
    assert silent.command == ""
    assert silent.token_ids == RENDERER.stop_ids


def test_an_action_never_outgrows_the_context() -> None:
    prompt = len(RENDERER.action_prompt(context()))
    narrow = Renderer(TOKENIZER, max_context=prompt + 3)
    policy = LLMPolicy(ScriptedEngine(lambda _: (100,) * 50), narrow, max_new_tokens=16)
    assert len(asyncio.run(policy.act(context())).token_ids) == 3
    with pytest.raises(ContextOverflow):
        tight = Renderer(TOKENIZER, max_context=prompt)
        asyncio.run(LLMPolicy(ScriptedEngine(lambda _: (1,)), tight).act(context()))


def test_constrained_to_admissible_commands_it_says_one_of_them() -> None:
    engine = TransformersEngine(tiny_model(len(TOKENIZER)), max_batch=2, max_context=256)
    policy = LLMPolicy(engine, RENDERER, actions=ActionMode.ADMISSIBLE, max_new_tokens=2)
    listed = ("look", "open safe 1", "open safe 2")
    said = {
        asyncio.run(policy.act(context(admissible=listed, seed=seed))).command for seed in range(12)
    }
    assert said <= set(listed)
    assert len(said) > 1
    free = asyncio.run(policy.act(context(admissible=None)))
    assert 1 <= len(free.token_ids) <= 2


def test_admissible_commands_that_do_not_fit_are_not_offered() -> None:
    prompt = len(RENDERER.action_prompt(context()))
    narrow = Renderer(TOKENIZER, max_context=prompt + 6)
    rng = random.Random(0)
    engine = ScriptedEngine(lambda request: rng.choice(request.choices))
    policy = LLMPolicy(engine, narrow, actions=ActionMode.ADMISSIBLE)
    listed = ("look", "a command much too long")
    assert asyncio.run(policy.act(context(admissible=listed))).command == "look"
    with pytest.raises(ContextOverflow, match="admissible"):
        asyncio.run(policy.act(context(admissible=listed[1:])))


def test_greedy_is_the_same_whatever_the_seed() -> None:
    engine = TransformersEngine(tiny_model(len(TOKENIZER)), max_batch=2, max_context=256)
    policy = LLMPolicy(engine, RENDERER)
    told = Turn(action=Action(command="look"), outcome=Outcome(observation="A mug."))
    actions = [
        asyncio.run(policy.act(context(turns=(told,), greedy=True, seed=seed))) for seed in (1, 2)
    ]
    assert actions[0].token_ids == actions[1].token_ids
    assert actions[0].command == actions[1].command
    assert len(actions[0].log_probs) == len(actions[0].token_ids) > 0


@pytest.mark.parametrize("setting", [{"temperature": -1.0}, {"max_new_tokens": 0}])
def test_senseless_settings_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        LLMPolicy(ScriptedEngine(lambda _: (1,)), RENDERER, **setting)  # type: ignore[arg-type]
