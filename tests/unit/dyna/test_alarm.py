"""The alarm, in whole runs of the loop: what trips it, what it saves, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from dyna import checkpoint
from dyna.alarm import Alarm
from dyna.crew import LocalCrew
from dyna.files import DamagedFileError
from dyna.protocols import Stateful
from dyna.rllib.parts import Run
from dyna.types import Metrics, Source, Trajectory
from experiments.studies.continual.rows import WINDOW
from tests.unit.dyna.guarded_runs import HOLE, make_run

GUARDED = "alarm.episodes_per_round=4"


def play(run: Run, *, last: int, first: int = 0) -> dict[int, Metrics]:
    return dict(run.loop.run(first_round=first, last_round=last))


class Journal:
    """Keeps rounds as they are written."""

    def __init__(self) -> None:
        self.kept: dict[int, list[Trajectory]] = {}

    def read(self, round: int) -> list[Trajectory] | None:
        return self.kept.get(round)

    def write(self, round: int, trajectories: Sequence[Trajectory]) -> None:
        self.kept[round] = list(trajectories)


@cache
def holed() -> tuple[Run, dict[int, Metrics], Journal]:
    """A run whose hole opens in round 2, played to round 4."""
    run, journal = make_run(GUARDED, HOLE), Journal()
    run.loop.journal = journal
    return run, play(run, last=4), journal


def alarm_of(run: Run) -> Alarm:
    assert isinstance(run.loop.alarm, Alarm)
    return run.loop.alarm


def test_a_hole_stops_imagination_and_the_policy_goes_back() -> None:
    run, rounds, _ = holed()
    (trip,) = alarm_of(run).trips
    assert trip.round == 2
    assert trip.imagined - trip.real == trip.gap > 0.05
    assert trip.wealth >= 100
    assert rounds[2]["eval/real_success"] >= rounds[1]["eval/real_success"] - 0.05
    assert rounds[4]["eval/real_success"] >= rounds[1]["eval/real_success"] - 0.05
    assert len({rounds[k]["ledger/imagined_steps"] for k in (2, 3, 4)}) == 1
    assert rounds[4]["alarm/tripped"] == 1.0


def test_without_the_alarm_the_same_hole_ruins_the_policy() -> None:
    run = make_run(HOLE)
    rounds = play(run, last=4)
    assert run.loop.alarm is None
    assert rounds[4]["eval/real_success"] < rounds[1]["eval/real_success"] - 0.3


def test_a_model_without_a_hole_never_trips_it() -> None:
    run = make_run(GUARDED)
    rounds = play(run, last=4)
    assert alarm_of(run).trips == []
    assert [rounds[k]["alarm/gap"] for k in (1, 2, 3, 4)] == [0.0] * 4


def test_what_it_spends_is_real_and_counted_on_its_own() -> None:
    run = make_run(GUARDED)
    before = play(run, last=0)[0]
    after = play(run, last=1, first=1)[1]
    spent = after["ledger/real_episodes"] - before["ledger/real_episodes"]
    assert spent == 4 + 4
    assert after["ledger/verification_episodes"] == 4
    assert 0 < after["ledger/verification_steps"] < after["ledger/real_steps"]
    assert after["ledger/evaluation_episodes"] == 2 * 10


def test_the_budget_of_real_steps_bounds_it() -> None:
    run = make_run(GUARDED)
    play(run, last=1)
    loop = run.loop
    loop.max_real_steps = loop.ledger.real_steps + 2 * loop.max_turns
    metrics = play(run, last=2, first=2)[2]
    assert loop.ledger.real_steps <= loop.max_real_steps
    assert metrics["ledger/verification_episodes"] == 4


def test_the_message_says_which_tasks_and_how_sure() -> None:
    run, _, _ = holed()
    (trip,) = alarm_of(run).trips
    told = str(trip)
    assert "imagination stopped in round 2" in told
    assert trip.tasks[0] in told
    assert f"{trip.imagined:.0%} of dreams" in told
    assert trip.skills == {"rows/corridor": sum(trip.skills.values())}
    assert sum(trip.skills.values()) >= len(trip.tasks) > 0


def test_the_next_experience_dreams_again_unless_the_run_is_its_scope(tmp_path: Path) -> None:
    for scope, again in (("experience", True), ("run", False)):
        holed_run, _, _ = holed()
        alarm_of(holed_run).save(str(tmp_path))
        alarm = alarm_of(make_run(GUARDED, HOLE, f"alarm.scope={scope}"))
        alarm.load(str(tmp_path))
        assert not alarm.allows_dreams()
        alarm.begin_experience("next")
        assert alarm.allows_dreams() is again


def table_of(run: Run, *, folder: Path) -> str:
    run.parts["policy"].save(str(folder))
    return (folder / "table.json").read_text()


def test_a_resumed_run_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    straight = make_run(GUARDED, HOLE)
    play(straight, last=1)
    checkpoint.save(tmp_path, round=1, parts=straight.parts)
    expected = play(straight, first=2, last=3)
    resumed = make_run(GUARDED, HOLE)
    checkpoint.restore(tmp_path / "checkpoints" / "round_000001", parts=resumed.parts)
    found = play(resumed, first=2, last=3)
    untimed = [
        {r: {k: v for k, v in m.items() if not k.startswith("time/")} for r, m in rounds.items()}
        for rounds in (expected, found)
    ]
    assert untimed[0] == untimed[1]
    first, second = (table_of(run, folder=tmp_path) for run in (straight, resumed))
    assert first == second
    assert alarm_of(straight).trips == alarm_of(resumed).trips != []


def test_a_resumed_run_stays_stopped(tmp_path: Path) -> None:
    run, _, _ = holed()
    alarm_of(run).save(str(tmp_path))
    resumed = alarm_of(make_run(GUARDED, HOLE))
    resumed.load(str(tmp_path))
    assert not resumed.allows_dreams()
    assert [str(trip) for trip in resumed.trips] == [str(trip) for trip in alarm_of(run).trips]


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    alarm = alarm_of(make_run(GUARDED))
    assert isinstance(alarm, Stateful)
    (tmp_path / "alarm.json").write_text('{"format": "dyna-alarm-1"}')
    with pytest.raises(DamagedFileError, match=r"alarm\.json.*no state of an alarm"):
        alarm.load(str(tmp_path))


def test_a_round_that_begins_again_spends_no_verification_twice() -> None:
    run, journal = make_run(GUARDED), Journal()
    run.loop.journal = journal
    play(run, last=1)
    ids = [t.id for t in journal.kept[1]]
    assert len(ids) == len(set(ids)) == 8
    assert sum("verify" in name for name in ids) == 4
    again = make_run(GUARDED)
    again.loop.journal = journal
    played: list[Trajectory] = []
    assert isinstance(again.loop.crew, LocalCrew)
    again.loop.crew.on_episode = played.append
    play(again, last=1)
    assert not [t for t in played if t.source is Source.REAL and not t.id.startswith("eval")]
    assert [t.id for t in journal.kept[1]] == ids


def test_the_episodes_that_failed_are_full_of_the_impossible_action() -> None:
    _, _, journal = holed()
    failed = [t for t in journal.kept[2] if "verify" in t.id and not t.success]
    assert failed
    assert all(any(turn.action.command == WINDOW for turn in t.turns) for t in failed)
