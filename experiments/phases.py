"""The work of a whole run, counted from its config: what a plan and an estimate are made of."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from dyna.config import RunConfig
from dyna.stream import Stream


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

    def __add__(self, other: Phase) -> Phase:
        """The work of both; the name is this one's."""
        counted = [field.name for field in fields(self) if field.name != "name"]
        sums = {name: getattr(self, name) + getattr(other, name) for name in counted}
        return replace(self, **sums)


def phases(config: RunConfig) -> list[Phase]:
    """The work of the whole run, as `dyna.loop` does it."""
    stream = Stream.of(config)
    summed: dict[str, Phase] = {}
    for part in stream.experiences:
        for phase in _of_one(replace(config, real=part.real, rounds=part.rounds)):
            before = summed.get(phase.name)
            summed[phase.name] = before + phase if before else phase
    evaluation = _evaluation(config, stream=stream)
    return [phase for phase in (*summed.values(), evaluation) if phase.times]


def _of_one(config: RunConfig) -> list[Phase]:
    """One experience, but for its evaluation."""
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
    return [
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
    ]


def _evaluation(config: RunConfig, *, stream: Stream) -> Phase:
    evaluation, last = config.evaluation, stream.last_round
    times = sum(1 for r in range(last + 1) if r % evaluation.every == 0 or r == last)
    if stream.is_continual:
        times = len(stream.experiences)
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
