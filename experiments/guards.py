"""What guards a policy while it learns one thing after another, as the config asks for it."""

from __future__ import annotations

from dyna.alarm import Alarm
from dyna.config import RunConfig
from dyna.ledger import Ledger
from dyna.loop import Crew
from dyna.protocols import PolicyLearner, ReplayBuffer, World
from dyna.rehearsal import Rehearsal
from dyna.seeding import derive_seed


def make_alarm(
    config: RunConfig,
    *,
    crew: Crew,
    replay: ReplayBuffer,
    ledger: Ledger,
    policy_learner: PolicyLearner,
) -> Alarm | None:
    """None where it is turned off."""
    if not config.alarm.episodes_per_round:
        return None
    return Alarm(
        crew=crew,
        replay=replay,
        policy_learner=policy_learner,
        ledger=ledger,
        config=config.alarm,
        seed=derive_seed(config.seed, "alarm"),
        horizon=config.imagination.horizon,
        max_turns=config.world.max_turns,
    )


def make_rehearsal(
    config: RunConfig, *, world: World, crew: Crew, replay: ReplayBuffer, ledger: Ledger
) -> Rehearsal | None:
    """None where it is turned off."""
    if not config.rehearsal.episodes:
        return None
    return Rehearsal(
        world=world,
        crew=crew,
        replay=replay,
        ledger=ledger,
        config=config.rehearsal,
        seed=derive_seed(config.seed, "rehearsal"),
        max_turns=config.world.max_turns,
    )


__all__ = ["make_alarm", "make_rehearsal"]
