import json
from dataclasses import replace
from pathlib import Path

import pytest

from dyna.ledger import Ledger
from dyna.spending import Meter, SpendLimitError, Usage
from dyna.types import Action, Outcome, Source, Start, StopReason, Task, Trajectory, Turn


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def episode(name: str, *, num_turns: int, stop: StopReason = StopReason.STEP_LIMIT) -> Trajectory:
    turn = Turn(
        action=Action(command="look", token_ids=(1, 2)),
        outcome=Outcome(observation="", valid=False, token_ids=(3, 4, 5)),
    )
    return Trajectory(
        id=name,
        task=Task(id="t", world="w", family="f", split="s"),
        start=Start(observation=""),
        turns=(turn,) * num_turns,
        stop=stop,
    )


def dream(name: str, *, num_turns: int, stop: StopReason, branch_point: int = 0) -> Trajectory:
    base = episode(name, num_turns=num_turns, stop=stop)
    return replace(base, source=Source.IMAGINED, branch_point=branch_point)


def test_each_real_interaction_is_counted_under_its_account() -> None:
    ledger = Ledger()
    ledger.enter(episode("a", num_turns=5))
    ledger.enter(replace(episode("b", num_turns=7), behavior="expert"))
    ledger.enter(episode("c", num_turns=2, stop=StopReason.ENV_TIMEOUT))
    ledger.enter(episode("d", num_turns=3), evaluation=True)
    ledger.enter(replace(episode("e", num_turns=4), behavior="expert"), evaluation=True)
    metrics = ledger.metrics()
    assert ledger.real_steps == metrics["ledger/real_steps"] == 14
    assert metrics["ledger/real_episodes"] == metrics["ledger/real_resets"] == 3
    assert metrics["ledger/demonstration_steps"] == 7
    assert metrics["ledger/demonstration_episodes"] == 1
    assert metrics["ledger/evaluation_steps"] == 7
    assert metrics["ledger/real_failures"] == 1
    assert metrics["ledger/real_stop/env_timeout"] == 1
    assert metrics["ledger/imagined_steps"] == 0


def test_what_checked_a_dream_is_real_and_counted_apart() -> None:
    ledger = Ledger()
    checked = episode("a", num_turns=5)
    with pytest.raises(ValueError, match="'a' is not in the ledger"):
        ledger.note_verification(checked)
    ledger.enter(checked)
    ledger.enter(episode("b", num_turns=2))
    ledger.note_verification(checked)
    metrics = ledger.metrics()
    assert (metrics["ledger/real_steps"], metrics["ledger/verification_steps"]) == (7, 5)


def test_dreams_count_only_what_was_imagined() -> None:
    ledger = Ledger()
    ledger.enter(dream("a", num_turns=6, branch_point=4, stop=StopReason.UNTRUSTED))
    ledger.enter(dream("b", num_turns=3, stop=StopReason.UNPARSEABLE))
    ledger.enter(dream("b", num_turns=3, stop=StopReason.HORIZON), evaluation=True)
    metrics = ledger.metrics()
    assert metrics["ledger/imagined_steps"] == 5
    assert metrics["ledger/imagined_answer_tokens"] == 15
    assert metrics["ledger/imagined_action_tokens"] == 10
    assert metrics["ledger/imagined_invalid_actions"] == 5
    assert metrics["ledger/imagined_resets"] == 1
    assert metrics["ledger/imagined_stop/untrusted"] == 1
    assert metrics["ledger/imagined_stop/unparseable"] == 1
    assert metrics["ledger/imagined_evaluation_steps"] == 3
    assert metrics["ledger/real_steps"] == 0


def test_a_real_episode_is_entered_once() -> None:
    ledger = Ledger()
    ledger.enter(episode("a", num_turns=5))
    with pytest.raises(ValueError, match="'a' is in the ledger already"):
        ledger.enter(episode("a", num_turns=5), evaluation=True)
    assert ledger.real_steps == 5


def test_phases_share_the_seconds_without_overlap() -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    clock.now += 50
    with ledger.phase("act"):
        clock.now += 2
        with ledger.phase("evaluate"):
            clock.now += 3
            assert ledger.seconds("evaluate") == 3
        clock.now += 4
    clock.now += 50
    with pytest.raises(RuntimeError), ledger.phase("act"):
        clock.now += 1
        raise RuntimeError
    metrics = ledger.metrics()
    assert metrics["time/act_s"] == 7 and metrics["time/evaluate_s"] == 3


def test_break_even_says_what_the_budget_buys() -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    assert ledger.break_even() == (
        "break-even: unknown until both real and imagined steps have been taken"
    )
    ledger.enter(episode("a", num_turns=10))
    ledger.enter(dream("b", num_turns=100, stop=StopReason.HORIZON))
    for phase, seconds in (("act", 20), ("imagine", 5), ("model", 15)):
        with ledger.phase(phase):
            clock.now += seconds
    line = ledger.break_even()
    assert "real step took 2 s, an imagined one 50 ms" in line
    assert "buys 10 real steps" in line and "over 200 ms" in line and "\n" not in line
    assert ledger.metrics()["time/imagined_s_per_step"] == 0.05


def test_a_loaded_ledger_goes_on_where_it_was(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(clock=clock)
    ledger.enter(episode("a", num_turns=5))
    ledger.enter(dream("b", num_turns=2, stop=StopReason.HORIZON))
    with ledger.phase("act"):
        clock.now += 1.5
        ledger.save(str(tmp_path))
    clock.now += 1000
    other = Ledger(clock=clock)
    other.load(str(tmp_path))
    clock.now += 1000
    assert other.metrics() == pytest.approx(ledger.metrics(), nan_ok=True)
    with pytest.raises(ValueError, match="already"):
        other.enter(episode("a", num_turns=5))
    assert "1.5" not in (tmp_path / "ledger.json").read_text()
    assert json.loads((tmp_path / "seconds.json").read_text()) == {"act": 1.5}
    with pytest.raises(FileNotFoundError, match="does not exist"):
        other.load(str(tmp_path / "elsewhere"))


def test_calls_of_servers_are_counted_saved_and_counted_on(tmp_path: Path) -> None:
    meter = Meter()
    meter.open(limit=1.0)
    ledger = Ledger(meter=meter)
    assert not [name for name in ledger.metrics() if "server" in name]
    meter.add(Usage(calls=2, failed_calls=1, prompt_tokens=10, completion_tokens=3, cost=0.4))
    metrics = ledger.metrics()
    assert metrics["ledger/server_calls"] == 2.0 and metrics["ledger/server_failed_calls"] == 1.0
    assert metrics["ledger/server_cost"] == ledger.metrics()["ledger/server_cost"] == 0.4
    ledger.save(str(tmp_path))
    resumed_meter = Meter()
    resumed_meter.open(limit=1.0)
    resumed = Ledger(meter=resumed_meter)
    resumed.load(str(tmp_path))
    resumed_meter.add(Usage(calls=1, cost=0.1))
    assert resumed.server.calls == 3 and resumed.server.cost == 0.5
    with pytest.raises(SpendLimitError), resumed_meter.reserve(0.6):
        pass
