"""What guards a policy while it learns one thing after another, as the config asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from dyna.alarm import Alarm
from dyna.config import Boundaries, RunConfig
from dyna.drift import StreamWatch
from dyna.files import write_json
from dyna.ledger import Ledger
from dyna.loop import Crew, DynaLoop
from dyna.protocols import HasExperiences, PolicyLearner, ReplayBuffer, World
from dyna.rehearsal import Rehearsal
from dyna.seeding import derive_seed
from dyna.types import Trajectory

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


def make_drift_watch(
    config: RunConfig,
    *,
    score: Callable[[Sequence[Trajectory]], Mapping[str, float]] | None,
    parts: Sequence[object],
) -> StreamWatch | None:
    """None where the boundaries are known. `score` gives the live world model's losses, and `parts`
    may want to know where experiences begin.

    Raises `ValueError` for a world model that has no losses.
    """
    if config.stream.boundaries is Boundaries.KNOWN:
        return None
    if score is None:
        raise ValueError(
            f"world_model.name={config.world_model.name!r} is no language model that learns here "
            "and has no loss to find boundaries by; set stream.boundaries to known"
        )
    told = [part for part in parts if isinstance(part, HasExperiences)]
    return StreamWatch(
        config.stream.drift, score=score, parts=told, seed=derive_seed(config.seed, "drift")
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


__all__ = ["TRIPS_FILE", "make_alarm", "make_drift_watch", "make_rehearsal", "write_trips"]
