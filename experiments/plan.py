"""What a run would do, before it does it: phases, episodes, steps, memory and time.

Counts follow from the config; lengths and speeds are measured on this machine in a few seconds
(`experiments.calibration`), and the rest is arithmetic. Models that ask for GPUs are estimated from
their shape (`experiments.estimates`). Nothing is written and nothing is learned.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dyna.config import RunConfig
from dyna.plugins import PluginError
from dyna.stream import Stream
from experiments.arithmetic import H100
from experiments.calibration import (
    Lengths,
    Speeds,
    measure_lengths,
    measure_speeds,
    peak_bytes,
)
from experiments.durations import duration
from experiments.estimates import (
    Estimate,
    TooLittleMemoryError,
    asks_for_gpus,
    estimate,
    gpu_here,
)
from experiments.phases import Phase, phases
from experiments.tiny.making import wants_tiny_model, with_tiny_model

_NUM_FOR_WORDS = 4
"""Episodes of each behavior from which a plan learns the words of a `tiny` model."""


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
    """Print the plan. What cannot be measured is said, and its figures are left out.

    Of a run on GPUs the memory and time of each place are estimated; nothing is measured with
    models of that size here.
    """
    work = phases(config)
    expected: dict[str, float] = {}
    notes: list[str] = []
    found: Estimate | None = None
    try:
        if asks_for_gpus(config):
            found = _estimate(config, notes=notes)
        else:
            lengths, policy, model = _measure(config)
            expected = {
                phase.name: seconds(phase, lengths=lengths, policy=policy, model=model)
                for phase in work
            }
            more = more_bytes(config, lengths=lengths, policy=policy, model=model)
            notes += _notes(
                lengths=lengths, policy=policy, model=model, more=more, expected=expected
            )
    except (PluginError, ImportError, ValueError, OSError, RuntimeError) as error:
        notes.append(f"time and memory cannot be told: {error}")
    console.print(_table(work, expected=expected, config=config))
    if found is not None:
        console.print(_memory_table(found))
    for note in notes:
        console.print(escape(note), highlight=False, soft_wrap=True)


def _estimate(config: RunConfig, *, notes: list[str]) -> Estimate:
    here = gpu_here()
    try:
        lengths = measure_lengths(config)
    except (PluginError, ImportError, ValueError, OSError, RuntimeError) as error:
        found = estimate(config, gpu=here or H100)
        measured = [f"lengths are those that fill the context, as none could be measured: {error}"]
    else:
        found = estimate(
            config,
            gpu=here or H100,
            policy_tokens=lengths.agent_tokens,
            model_tokens=lengths.model_tokens,
        )
        measured = [
            f"measured        {lengths.origin}: {lengths.turns:.1f} turns,"
            f" {lengths.agent_tokens:.0f} tokens as the agent reads them,"
            f" {lengths.model_tokens:.0f} as the world model does"
        ]
    gpu, reached = found.gpu, found.reached
    notes += [
        f"estimated       for {gpu.name}{'' if here else ', as no GPU is seen from here'}, at"
        f" {reached.matrix:.0%} of its matrix rate and {reached.bandwidth:.0%} of its bandwidth;"
        " not measured",
        f"a round         {duration(found.train_s)} of training on {found.num_training} GPUs"
        f" ({found.train_flops:.3g} FLOPs),"
        f" {duration(found.generate_s)} of generation on {found.num_generating}",
        *measured,
    ]
    try:
        found.check()
    except TooLittleMemoryError as error:
        notes.append(str(error))
    return found


def _memory_table(found: Estimate) -> Table:
    table = Table(box=None, header_style="bold")
    for column, justify in (("GiB of each GPU", "left"), ("where", "left"), ("GiB", "right")):
        table.add_column(column, justify=justify)  # pyright: ignore[reportArgumentType]
    for place in found.places:
        where = f"{place.num} x {place.name}, {place.num_gpus:g} GPUs each"
        table.add_row(where, "", f"{place.total / 2**30:.2f}", style="bold")
        for name, value in place.bytes_of.items():
            table.add_row("", name, f"{value / 2**30:.2f}")
    return table


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
    stream = Stream.of(config)
    parts = f"{len(stream.experiences)} experiences, " if stream.is_continual else ""
    title = f"{config.name}: {parts}{stream.last_round} rounds, seed {config.seed}"
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
