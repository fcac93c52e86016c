"""The language world model: reads whatever the engine says, never raises, and scores agree."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from dyna.engines.scripted import ScriptedEngine
from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Engine, GenerationRequest, WorldModel
from dyna.testing import check_world_model, tiny_model
from dyna.types import Action, Outcome, Source, StopReason
from tests.unit.worldmodels.corridor_text import episodes, make_renderer, make_trainer
from worldmodels.confidence import Confidence, confidence
from worldmodels.llm import LLMWorldModel
from worldmodels.scoring import score_turns

RENDERER = make_renderer()
WALK = episodes(1)[0]
GO = Action(command="go left")


def says(text: str, *, max_new_tokens: int = 64) -> Outcome:
    tokens = (*RENDERER.encode(text), *RENDERER.stop_ids)
    model = LLMWorldModel(ScriptedEngine(lambda _: tokens), RENDERER, max_new_tokens=max_new_tokens)
    return asyncio.run(model.predict(WALK.context(0), GO))


def test_an_answer_is_read_with_its_tokens_and_confidence() -> None:
    outcome = says("You are outside. [reward 1; done; success]")
    assert outcome.observation == "You are outside."
    assert (outcome.reward, outcome.terminated, outcome.success) == (1.0, True, True)
    assert outcome.stop is StopReason.TERMINATED and outcome.confidence == 1.0
    assert RENDERER.decode(outcome.token_ids) == "You are outside. [reward 1; done; success]"


@pytest.mark.parametrize(
    "text", ["", "You win!", "[reward nan]", "x [reward 1; success]", "]" * 40]
)
def test_what_is_no_answer_is_unparseable(text: str) -> None:
    outcome = says(text)
    assert outcome.stop is StopReason.UNPARSEABLE and outcome.reward == 0.0


def test_an_unfinished_answer_is_unparseable() -> None:
    text = "You are outside. [reward 1; done; success]"
    outcome = says(text, max_new_tokens=len(RENDERER.encode(text)))
    assert outcome.stop is StopReason.UNPARSEABLE and not outcome.success


def test_a_full_context_cuts_the_dream() -> None:
    engine = ScriptedEngine(lambda _: RENDERER.stop_ids)
    model = LLMWorldModel(engine, make_renderer(max_context=8))
    outcome = asyncio.run(model.predict(WALK.context(1), GO))
    assert outcome.stop is StopReason.CONTEXT_FULL and not outcome.stop.is_failure


def test_it_asks_the_engine_in_a_conversation_of_its_own() -> None:
    asked: list[GenerationRequest] = []

    def reply(request: GenerationRequest) -> Sequence[int]:
        asked.append(request)
        return RENDERER.stop_ids

    model = LLMWorldModel(ScriptedEngine(reply), RENDERER, use_hidden_state=False)
    context = replace(WALK.context(1), seed=5)
    asyncio.run(model.predict(context, GO))
    (request,) = asked
    assert request.conversation_id == f"model:{WALK.id}"
    assert (request.temperature, request.seed) == (0.0, 5)
    assert request.prompt_ids == RENDERER.answer_prompt(context, GO, use_hidden_state=False)


def test_its_version_is_that_of_the_engines_weights() -> None:
    engine: Engine = ScriptedEngine(lambda _: RENDERER.stop_ids)
    model = LLMWorldModel(engine, RENDERER)
    engine.load_weights({}, version=9)
    assert model.version == 9


def test_a_random_model_keeps_the_seam_whatever_it_says() -> None:
    engine = TransformersEngine(tiny_model(len(RENDERER.tokenizer)), max_context=256)
    model = LLMWorldModel(engine, make_renderer(max_context=256), max_new_tokens=12)
    check_world_model(cast("WorldModel", model), trajectories=episodes(2))


def test_confidence_is_of_the_worst_token_or_of_all() -> None:
    log_probs = (math.log(0.5), math.log(0.125))
    assert confidence(log_probs) == pytest.approx(0.125)
    assert confidence(log_probs, kind=Confidence.MEAN) == pytest.approx(0.25)
    assert confidence(()) == 0.0 and confidence((1e-9,)) == 1.0


def test_one_forward_pass_scores_as_greedy_generation_does() -> None:
    trainer = make_trainer(RENDERER)
    walks = episodes(12)
    samples = [RENDERER.model_sample(t, use_hidden_state=True) for t in walks]
    trainer.train([s for s in samples if s is not None], epochs=20.0, seed=0)
    scores = score_turns(trainer.model, RENDERER, walks, use_hidden_state=True)
    engine = TransformersEngine(trainer.model, max_context=512)
    model = LLMWorldModel(engine, RENDERER)

    async def predict_all() -> list[Outcome]:
        asked = [(t.context(i), turn.action) for t in walks for i, turn in enumerate(t.turns)]
        return list(await asyncio.gather(*(model.predict(c, a) for c, a in asked)))

    predicted = asyncio.run(predict_all())
    turns = [turn for t in walks for turn in t.turns]
    assert len(scores) == len(predicted) == len(turns)
    exact = [
        RENDERER.encode_answer(turn.outcome) == p.token_ids
        for turn, p in zip(turns, predicted, strict=True)
    ]
    assert [s.exact for s in scores] == exact
    assert 0 < sum(exact) < len(exact)
    for score, p in zip(scores, predicted, strict=True):
        if score.exact:
            assert score.confidence == pytest.approx(p.confidence, abs=1e-4)
            assert score.observation_exact and score.reward_exact and score.termination_exact
            assert score.predicted_success == p.success == score.success
        else:
            assert not (score.observation_exact and score.reward_exact and score.termination_exact)
    assert [s.trajectory_id for s in scores] == [t.id for t in walks for _ in t.turns]
    assert {s.kind for s in scores} == {"go"} and {s.depth for s in scores} == {1}


def test_dreams_are_not_scored_and_failures_are_left_out() -> None:
    model = tiny_model(len(RENDERER.tokenizer))
    failed = replace(WALK, stop=StopReason.ENV_ERROR)
    assert score_turns(model, RENDERER, [failed], use_hidden_state=True) == []
    with pytest.raises(ValueError, match="scored on real episodes"):
        score_turns(model, RENDERER, [replace(WALK, source=Source.IMAGINED)], use_hidden_state=True)
