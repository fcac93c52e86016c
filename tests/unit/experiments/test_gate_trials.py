"""The trials of the gate: what is planted is what the study says, and what counts is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dyna.files import write_json
from experiments.studies.continual.gate_trials import (
    GOOD,
    KINDS,
    NOISE,
    WRONG_WORLD,
    kept,
    late,
    noisy,
    read_study,
    summary,
)
from experiments.usage import UsageError
from tests.unit.worldmodels.corridor_text import episodes

GOAL = {"refused": 2, "accepted": 1}


def rows(*accepted: tuple[str, bool]) -> list[dict[str, Any]]:
    return [
        {"seed": 0, "kind": kind, "accepted": said, "verdicts": {"mcnemar/harm": True}}
        for kind, said in accepted
    ]


def test_noise_replaces_about_its_share_of_the_answers_and_nothing_else() -> None:
    walks = episodes(60)
    told = noisy(walks, share=0.5, seed=1)
    assert told == noisy(walks, share=0.5, seed=1) != noisy(walks, share=0.5, seed=2)
    assert noisy(walks, share=0.0, seed=1) == walks
    turns = [
        (a.outcome, b.outcome)
        for t, u in zip(walks, told, strict=True)
        for a, b in zip(t.turns, u.turns, strict=True)
    ]
    changed = sum(a.observation != b.observation for a, b in turns)
    # A replaced answer may be the same again. Of 200 and more, 0.5 +- 0.15 is 4 deviations.
    assert 0.15 < changed / len(turns) < 0.65
    assert all(a.reward == b.reward and a.terminated == b.terminated for a, b in turns)


def test_a_late_world_answers_with_what_was_asked_before() -> None:
    (walk,) = late(episodes(1))
    (true,) = episodes(1)
    assert [turn.outcome.observation for turn in walk.turns] == [
        "Nothing happens.",
        *(turn.outcome.observation for turn in true.turns[:-1]),
    ]
    assert [turn.action for turn in walk.turns] == [turn.action for turn in true.turns]


def test_the_goal_is_reached_by_every_kind_or_not_at_all() -> None:
    bad = [(NOISE, False), (NOISE, False), (WRONG_WORLD, False), (WRONG_WORLD, False)]
    found = summary(rows((GOOD, True), *bad), goal=GOAL)
    assert found["reached"] and found["kinds"][NOISE]["refused"] == 2
    assert found["kinds"][GOOD]["accepted_by"] == {"mcnemar/harm": 1}
    assert not summary(rows((GOOD, False), *bad), goal=GOAL)["reached"]
    assert not summary(rows((GOOD, True), (WRONG_WORLD, True), *bad[:3]), goal=GOAL)["reached"]


def test_what_was_measured_is_kept_and_another_study_refused(tmp_path: Path) -> None:
    study, path = read_study(), tmp_path / "result.json"
    assert kept(path, study=study) == ([], 0)
    measured = rows(*((kind, True) for kind in KINDS))
    write_json(path, value={"study": study, "seconds": 5, "trials": measured})
    assert kept(path, study=study) == (measured, 5)
    assert kept(path, study={**study, "seeds": [1]}) == ([], 5)
    with pytest.raises(UsageError, match=r"noise was 1.0, is 0.5"):
        kept(path, study={**study, "noise": 0.5})
