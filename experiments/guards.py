"""What guards a policy while it learns one thing after another, as the config asks for it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from dyna.alarm import Alarm
from dyna.config import RunConfig
from dyna.files import write_json
from dyna.ledger import Ledger
from dyna.loop import Crew, DynaLoop
from dyna.protocols import PolicyLearner, ReplayBuffer, World
from dyna.rehearsal import Rehearsal
from dyna.seeding import derive_seed

TRIPS_FILE = "alarms.json"


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


def write_trips(loop: DynaLoop, *, folder: Path) -> None:
    """For the report: why imagination stopped, once for each time that it did."""
    if isinstance(loop.alarm, Alarm) and loop.alarm.trips:
        trips = [{**asdict(trip), "why": str(trip)} for trip in loop.alarm.trips]
        write_json(folder / TRIPS_FILE, value=trips)


__all__ = ["TRIPS_FILE", "make_alarm", "make_rehearsal", "write_trips"]
