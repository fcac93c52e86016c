"""`python -m experiments.base_model [--steps N] [--output FOLDER]`: make the base again."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, replace
from importlib import resources
from pathlib import Path
from random import Random

import torch
from transformers import Qwen2ForCausalLM

from dyna.envs.household.alfworld_vocabulary import ALFWORLD
from dyna.grammar import write_verdict
from dyna.rendering import Renderer
from dyna.tokenizer import train_tokenizer
from dyna.training.models import tiny_config
from dyna.types import Outcome
from experiments.base_model import episodes, exercises, vocabularies
from experiments.base_model.initialization import draw_induction_circuit
from experiments.base_model.training import Recipe, train

MAX_NUMBER = 3
"""Entities are one token up to this number, in the worlds of invented words and in ALFWorld."""
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
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--output", type=Path, default=Path(str(resources.files("dyna"))) / "data" / "base_model"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    recipe = replace(Recipe(), steps=arguments.steps, seed=arguments.seed)
    renderer = make_renderer(max_context=1024)
    vocabulary_size = len(renderer.tokenizer)
    config = tiny_config(vocabulary_size)
    # Most rotary frequencies stand still over an episode, so that heads can compare content.
    config.rope_parameters = {"rope_type": "default", "rope_theta": 1e6}
    model = Qwen2ForCausalLM(config)
    draw_induction_circuit(model, seed=recipe.seed)
    _log.info("%d tokens, %d parameters", vocabulary_size, model.num_parameters())

    def on_step(step: int, loss: float) -> None:
        _log.info("step %d of %d, loss %.4f", step, recipe.steps, loss)
        if step % 500 == 0 or step == recipe.steps:
            model.save_pretrained(arguments.output)
            renderer.tokenizer.save_pretrained(arguments.output)

    seconds = train(model, renderer, entity_names(), recipe=recipe, on_step=on_step)
    record = {
        "recipe": asdict(recipe),
        "exercises": [exercise.__name__ for exercise in exercises.ALL],
        "parameters": model.num_parameters(),
        "vocabulary": vocabulary_size,
        "seconds": round(seconds),
        "torch": torch.__version__,
    }
    (arguments.output / "training.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
