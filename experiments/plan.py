"""What a run would do, before it does it: phases, episodes, steps, memory and time.

Counts follow from the config; lengths and speeds are measured on this machine in a few seconds
(`experiments.calibration`), and the rest is arithmetic. Nothing is written and nothing is learned.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dyna.config import RunConfig
from dyna.plugins import PluginError
from experiments.calibration import (
    Lengths,
    Speeds,
    measure_lengths,
    measure_speeds,
    peak_bytes,
)
from experiments.durations import duration
from experiments.tiny.making import wants_tiny_model, with_tiny_model

_NUM_FOR_WORDS = 4
"""Episodes of each behavior from which a plan learns the words of a `tiny` model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One kind of work, summed over the run. Token counts are of what a model does in it."""

    name: str
    times: int
    """How often it happens."""
    real_episodes: int = 0
    imagined_episodes: int = 0
    max_steps: int = 0
    """Steps if every episode lasts as long as it may."""
    policy_acts: float = 0.0
    """Episodes in which the policy's model acts."""
    model_answers: float = 0.0
    """Episodes in which the world model answers."""
    policy_passes: float = 0.0
    """Episodes that the policy is trained on, counted once per pass."""
    model_passes: float = 0.0
    """Episodes that the world model is trained on, or scored on, counted once per pass."""


def phases(config: RunConfig) -> list[Phase]:
    """The work of the whole run, as `dyna.loop` does it."""
    real, dreams, learner = config.real, config.imagination, config.policy_learner
    rounds, turns = config.rounds, config.world.max_turns
    first = real.demonstrations + real.explorations
    acted = real.episodes_per_round // real.group_size * real.group_size
    updates = config.world_model_learner
    later = 0 if updates.frozen_after_first else rounds
    mixed = acted * updates.epochs / (1 - updates.replay_ratio)
    dreamt = -(-dreams.episodes_per_round // dreams.group_size) * dreams.group_size
    cloned = real.demonstrations * (1 if learner.demonstration_weight else 0)
    batches = dreams.batches_per_round if dreamt else 0
    found = [
        Phase(
            name="demonstrations and exploration",
            times=1,
            real_episodes=first,
            max_steps=first * turns,
        ),
        Phase(
            name="first world-model training", times=1, model_passes=first * updates.first_epochs
        ),
        Phase(
            name="imitation",
            times=1,
            policy_passes=float(real.demonstrations * learner.imitation_epochs),
        ),
        Phase(
            name="act",
            times=rounds,
            real_episodes=rounds * acted,
            max_steps=rounds * acted * turns,
            policy_acts=rounds * acted,
        ),
        Phase(name="world-model updates", times=later, model_passes=later * mixed),
        Phase(
            name="imagine",
            times=rounds * batches,
            imagined_episodes=rounds * dreamt,
            max_steps=rounds * dreamt * min(dreams.horizon, turns),
            policy_acts=rounds * dreamt,
            model_answers=rounds * dreamt,
        ),
        Phase(
            name="policy updates",
            times=rounds * (1 + batches),
            policy_passes=float(
                rounds * learner.epochs * (acted + dreamt + (1 + batches) * cloned)
            ),
        ),
        _evaluation(config),
    ]
    return [phase for phase in found if phase.times]


def _evaluation(config: RunConfig) -> Phase:
    evaluation, last = config.evaluation, config.rounds
    times = sum(1 for r in range(last + 1) if r % evaluation.every == 0 or r == last)
    imagined = times * evaluation.num_tasks if evaluation.imagined else 0
    played = times * evaluation.num_tasks
    return Phase(
        name="evaluation",
        times=times,
        real_episodes=played,
        imagined_episodes=imagined,
        max_steps=(played + imagined) * config.world.max_turns,
        policy_acts=played + imagined,
        model_answers=imagined,
        model_passes=times * evaluation.fidelity_episodes / 3,  # no backward pass
    )


def seconds(phase: Phase, *, lengths: Lengths, policy: Speeds, model: Speeds) -> float:
    """The expected time of a phase from measured lengths and speeds."""
    actions, answers = lengths.turns * lengths.action, lengths.turns * lengths.answer
    acting = (lengths.opening + answers) / policy.read + actions / policy.write
    answering = (lengths.hidden_opening + actions) / model.read + answers / model.write
    return (
        phase.real_episodes * lengths.episode_s
        + phase.policy_acts * acting
        + phase.model_answers * answering
        + phase.policy_passes * lengths.agent_tokens / policy.train
        + phase.model_passes * lengths.model_tokens / model.train
    )


def more_bytes(config: RunConfig, *, lengths: Lengths, policy: Speeds, model: Speeds) -> float:
    """What a run holds beyond what the measurements held: model copies, caches, the buffer."""
    # Trained weights, gradients, two moments, and the engine's own copy of each model; the
    # reference policy; the live weights a refused world model goes back to.
    copies = 5 * (policy.weight_bytes + model.weight_bytes) + policy.weight_bytes
    copies += model.weight_bytes
    turns = sum(phase.real_episodes for phase in phases(config)) * lengths.turns
    buffer = min(config.replay.max_bytes, turns * 1024, config.replay.max_transitions * 1024)
    return copies + buffer


def print_plan(config: RunConfig, *, console: Console) -> None:
    """Print the plan. What cannot be measured is said, and its figures are left out."""
    work = phases(config)
    expected: dict[str, float] = {}
    notes: list[str] = []
    try:
        lengths, policy, model = _measure(config)
    except (PluginError, ImportError, ValueError, OSError, RuntimeError) as error:
        notes.append(f"time and memory cannot be told: {error}")
    else:
        expected = {
            phase.name: seconds(phase, lengths=lengths, policy=policy, model=model)
            for phase in work
        }
        more = more_bytes(config, lengths=lengths, policy=policy, model=model)
        notes += _notes(lengths=lengths, policy=policy, model=model, more=more, expected=expected)
    console.print(_table(work, expected=expected, config=config))
    for note in notes:
        console.print(escape(note), highlight=False, soft_wrap=True)


def _measure(config: RunConfig) -> tuple[Lengths, Speeds, Speeds]:
    """Lengths, and the speeds of the policy and of the world model."""
    with tempfile.TemporaryDirectory() as folder:
        if wants_tiny_model(config):
            # Like the run's own, from fewer episodes; what it costs to make is in `act`.
            few = replace(
                config.real,
                demonstrations=min(_NUM_FOR_WORDS, config.real.demonstrations),
                explorations=min(_NUM_FOR_WORDS, config.real.explorations),
            )
            made = with_tiny_model(
                replace(config, real=few), folder=Path(folder), console=Console(quiet=True)
            )
            config = replace(made, real=config.real)
        lengths = measure_lengths(config)
        policy = measure_speeds(config.policy.model, config=config, lengths=lengths)
        model = policy
        if config.world_model.model != config.policy.model:
            model = measure_speeds(config.world_model.model, config=config, lengths=lengths)
    return lengths, policy, model


def _notes(
    *, lengths: Lengths, policy: Speeds, model: Speeds, more: float, expected: dict[str, float]
) -> list[str]:
    return [
        f"expected time   {duration(sum(expected.values()))}, on this machine as busy as it is now",
        f"expected memory {(peak_bytes() + more) / 2**30:.1f} GiB at the peak of this process",
        f"measured        {lengths.origin}: {lengths.turns:.1f} turns, {lengths.action:.0f} tokens"
        f" an action, {lengths.answer:.0f} an answer",
        f"                policy {_speed_text(policy)}",
        f"                world model {_speed_text(model)}",
    ]


def _speed_text(speeds: Speeds) -> str:
    return (
        f"{speeds.num_parameters / 1e6:.2f}M parameters; tokens/s: {speeds.read:,.0f} read,"
        f" {speeds.write:,.0f} written, {speeds.train:,.0f} trained"
    )


def _table(work: list[Phase], *, expected: dict[str, float], config: RunConfig) -> Table:
    title = f"{config.name}: {config.rounds} rounds, seed {config.seed}"
    table = Table(title=title, box=None, header_style="bold", title_justify="left")
    table.add_column("phase", no_wrap=True)
    for column in ("times", "real episodes", "imagined", "steps at most", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    for phase in work:
        table.add_row(
            phase.name,
            str(phase.times),
            _count(phase.real_episodes),
            _count(phase.imagined_episodes),
            _count(phase.max_steps),
            duration(expected[phase.name]) if expected else "?",
        )
    training = [phase for phase in work if phase.name != "evaluation"]
    steps = sum(phase.max_steps for phase in training if phase.real_episodes)
    if config.max_real_steps:
        steps = min(steps, config.max_real_steps)
    table.caption = f"real steps learned from: at most {steps:,}"
    table.caption_justify = "left"
    return table


def _count(value: int) -> str:
    return f"{value:,}" if value else "-"
