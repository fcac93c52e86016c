"""`python -m experiments.base_model [--steps N] [--output FOLDER]`: make the base again."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from random import Random

import torch
from transformers import Qwen2ForCausalLM

from dyna.config import ModelConfig
from dyna.envs.household.alfworld_vocabulary import ALFWORLD
from dyna.grammar import write_verdict
from dyna.rendering import Renderer
from dyna.tokenizer import train_tokenizer
from dyna.training.models import load_model, load_tokenizer, tiny_config
from dyna.types import Outcome
from experiments.base_model import episodes, exercises, vocabularies
from experiments.base_model.initialization import draw_induction_circuit
from experiments.base_model.training import STAGES, Recipe, train

MAX_NUMBER = 3
"""Entities are one token up to this number, in the worlds of invented words and in ALFWorld."""
MAX_CONTEXT = 1024
_VERDICTS = tuple(
    write_verdict(outcome)
    for outcome in (
        Outcome(observation=""),
        Outcome(observation="", reward=1.0, terminated=True, success=True),
    )
)
_log = logging.getLogger(__name__)


def all_kinds() -> tuple[str, ...]:
    """Every kind that has tokens; ALFWorld's occur in exercises alone."""
    invented = (*vocabularies.RECEPTACLES, *vocabularies.OBJECTS, vocabularies.LAMP)
    known = [kind.name for kind in (*ALFWORLD.receptacles, *ALFWORLD.objects)]
    return tuple(sorted({*invented, *known}))


def entity_names() -> tuple[str, ...]:
    return tuple(f"{kind} {n}" for kind in all_kinds() for n in range(1, MAX_NUMBER + 1))


def make_renderer(*, max_context: int) -> Renderer:
    """Train the tokenizer on text of invented households."""
    rng = Random("tokenizer")
    texts: list[str] = []
    for _ in range(600):
        played = episodes.play(rng)
        texts += [played.start.observation, played.start.hidden_state or ""]
        texts += [
            t for turn in played.turns for t in (turn.action.command, turn.outcome.observation)
        ]
    tokenizer = train_tokenizer(
        texts, kinds=all_kinds(), phrases=_VERDICTS, max_number=MAX_NUMBER, max_phrases=160
    )
    return Renderer(tokenizer, max_context=max_context)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, help="of each stage, to try things out")
    parser.add_argument("--first-stage", type=int, default=0, help="go on from --output's weights")
    parser.add_argument(
        "--output", type=Path, default=Path(str(resources.files("dyna"))) / "data" / "base_model"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(STAGES[0].seed)
    renderer, model = _begin(arguments.output if arguments.first_stage else None)
    _log.info("%d tokens, %d parameters", len(renderer.tokenizer), model.num_parameters())
    stages = [replace(r, steps=arguments.steps or r.steps) for r in STAGES]
    seconds: list[int] = []
    for number, recipe in list(enumerate(stages))[arguments.first_stage :]:
        on_step = _reporter(number, recipe, model=model, renderer=renderer, folder=arguments.output)
        seconds.append(
            round(train(model, renderer, entity_names(), recipe=recipe, on_step=on_step))
        )
    record = {
        "stages": [asdict(recipe) for recipe in stages],
        "exercises": [exercise.__name__ for exercise in exercises.ALL],
        "parameters": model.num_parameters(),
        "vocabulary": len(renderer.tokenizer),
        "seconds_by_stage": seconds,
        "torch": torch.__version__,
    }
    (arguments.output / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def _begin(folder: Path | None) -> tuple[Renderer, Qwen2ForCausalLM]:
    """A new tokenizer and random weights, or those that an earlier stage left in `folder`."""
    if folder is not None:
        config = ModelConfig(path=str(folder), max_context=MAX_CONTEXT)
        model = load_model(config)
        assert isinstance(model, Qwen2ForCausalLM)
        return Renderer(load_tokenizer(config), max_context=MAX_CONTEXT), model
    renderer = make_renderer(max_context=MAX_CONTEXT)
    config = tiny_config(len(renderer.tokenizer))
    # Most rotary frequencies stand still over an episode, so that heads can compare content.
    config.rope_parameters = {"rope_type": "default", "rope_theta": 1e6}
    model = Qwen2ForCausalLM(config)
    draw_induction_circuit(model, seed=STAGES[0].seed)
    return renderer, model


def _reporter(
    number: int, recipe: Recipe, *, model: Qwen2ForCausalLM, renderer: Renderer, folder: Path
) -> Callable[[int, float], None]:
    def on_step(step: int, loss: float) -> None:
        _log.info("stage %d step %d of %d, loss %.4f", number, step, recipe.steps, loss)
        if step % 500 == 0 or step == recipe.steps:
            model.save_pretrained(folder)
            renderer.tokenizer.save_pretrained(folder)

    return on_step


if __name__ == "__main__":
    main()
