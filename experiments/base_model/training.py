"""Trains the base: first to look things up, then on everything, with Muon on the matrices.

Muon (Jordan et al. 2024) needs about a third of AdamW's tokens here; embeddings, biases and norms
stay with AdamW. The schedule is in steps, so the same seed makes the same weights on one machine.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import torch
from transformers import Qwen2ForCausalLM

from dyna.rendering import Renderer
from dyna.training.losses import LossConfig, row_loss
from dyna.training.packing import StreamTotals, make_batches, pack
from dyna.types import Credit, TrainingSample
from experiments.base_model import episodes, exercises

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    steps: int = 6500
    lookup_steps: int = 150
    """Steps at the start on look-up exercises alone."""
    tokens_per_step: int = 3072
    muon_learning_rate: float = 0.01
    adam_learning_rate: float = 3e-3
    warmup_steps: int = 30
    decay_share: float = 0.5
    """The learning rates fall linearly over this last share of the steps, to 3%."""
    model_share: float = 0.6
    """Share of samples in the world model's view of an episode, with the loss on its answers."""
    agent_share: float = 0.15
    """Share in the agent's view, with the loss on its commands; the rest are exercises."""
    grasp: float = 0.0
    """Share of turns spent on reaching for what is not there; see `episodes.Company`."""
    seed: int = 0


STAGES = (
    Recipe(),
    # What the first stage left unlearned: to look through a list and not find.
    Recipe(
        steps=2400,
        lookup_steps=0,
        muon_learning_rate=0.005,
        adam_learning_rate=1.5e-3,
        decay_share=0.8,
        grasp=0.25,
        seed=1,
    ),
)


def draw_sample(
    renderer: Renderer, names: tuple[str, ...], rng: Random, *, recipe: Recipe
) -> TrainingSample | None:
    kind = rng.random()
    if kind < recipe.model_share:
        played = episodes.play(rng, grasp=recipe.grasp)
        return renderer.model_sample(played, use_hidden_state=True)
    if kind < recipe.model_share + recipe.agent_share:
        played = episodes.play(rng)
        return renderer.policy_sample(Credit(trajectory=played, ce=(1.0,) * len(played.turns)))
    return rng.choice(exercises.ALL)(renderer, names, rng)


def train(
    model: Qwen2ForCausalLM,
    renderer: Renderer,
    names: tuple[str, ...],
    *,
    recipe: Recipe,
    on_step: Callable[[int, float], None],
) -> float:
    """Train in place; returns the seconds it took. `on_step(step, mean loss)` every 100 steps."""
    optimizers = _optimizers(model, recipe=recipe)
    rng = Random(recipe.seed)
    began, step, losses = time.monotonic(), 0, list[float]()
    while step < recipe.steps:
        if step < recipe.lookup_steps:
            drawn = [rng.choice(exercises.LOOKUP)(renderer, names, rng) for _ in range(700)]
        else:
            maybe = [draw_sample(renderer, names, rng, recipe=recipe) for _ in range(1000)]
            drawn = [sample for sample in maybe if sample is not None]
        batches = make_batches(
            drawn, tokens_per_batch=recipe.tokens_per_step, epochs=1.0, seed=step
        )
        for batch in batches:
            losses.append(_step(model, batch, optimizers=optimizers, rate=_rate(step, recipe)))
            step += 1
            if step % 100 == 0 or step == recipe.steps:
                on_step(step, sum(losses[-100:]) / len(losses[-100:]))
            if step == recipe.steps:
                break
    return time.monotonic() - began


def _step(
    model: Qwen2ForCausalLM,
    batch: list[TrainingSample],
    *,
    optimizers: list[torch.optim.Optimizer],
    rate: float,
) -> float:
    totals, loss_sum = StreamTotals.of(batch), 0.0
    for row in pack(batch, max_tokens=4096, max_targets=4096, device=model.device):
        loss, _ = row_loss(model, row=row, totals=totals, config=LossConfig())
        loss.backward()
        loss_sum += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        optimizer.step()
        optimizer.zero_grad()
    return loss_sum


def _rate(step: int, recipe: Recipe) -> float:
    """The learning rate's share of its peak."""
    warmup = min(1.0, (step + 1) / recipe.warmup_steps)
    left = (recipe.steps - step) / recipe.steps
    return warmup * min(1.0, max(0.03, left / recipe.decay_share))


def _optimizers(model: Qwen2ForCausalLM, *, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        inner = parameter.dim() == 2 and "embed" not in name
        (matrices if inner else others).append(parameter)
    muon = torch.optim.Muon(matrices, lr=recipe.muon_learning_rate, weight_decay=0.01)
    adam = torch.optim.AdamW(
        others, lr=recipe.adam_learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    for optimizer in (muon, adam):
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return [muon, adam]
