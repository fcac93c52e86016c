"""The gate's verdict: of each experience, by the same turns, with small ones judged together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dyna.config import GateBurden, GateConfig, GateTest
from dyna.evaluation.fidelity import TurnScore
from worldmodels.gate import ALL, ExperienceVerdict, GateVerdict, is_worth_it, judge

DROP = GateConfig(test=GateTest.DROP, margin=0.02, min_turns=50)
EXACT = GateConfig(test=GateTest.MCNEMAR, margin=0.02, min_turns=50)


def turn_scores(
    exact: Sequence[bool], *, name: str = "a", per_episode: int = 10
) -> list[TurnScore]:
    return [
        TurnScore(
            exact=is_exact,
            observation_exact=is_exact,
            reward_exact=True,
            termination_exact=True,
            confidence=1.0,
            predicted_success=False,
            success=False,
            kind="go",
            valid=True,
            depth=1,
            trajectory_id=f"{name}/{index // per_episode}",
        )
        for index, is_exact in enumerate(exact)
    ]


def verdicts(
    old: Sequence[TurnScore], *, new: Sequence[TurnScore], config: GateConfig
) -> tuple[ExperienceVerdict, ...]:
    experiences = {s.trajectory_id: s.trajectory_id.split("/")[0] for s in old}
    return judge(old, new=new, experiences=experiences, config=config)


def is_accepted(old: Sequence[bool], *, new: Sequence[bool], config: GateConfig) -> bool:
    (verdict,) = verdicts(turn_scores(old), new=turn_scores(new), config=config)
    return verdict.accepted


def test_it_counts_what_was_lost_and_gained() -> None:
    old = turn_scores([True] * 96 + [False] * 4)
    new = turn_scores([True] * 90 + [False] * 6 + [True] * 4)
    (verdict,) = verdicts(old, new=new, config=DROP)
    assert (verdict.lost, verdict.gained, verdict.num_turns) == (6, 4, 100)
    assert (verdict.old_em, verdict.new_em, verdict.num_episodes) == (0.96, 0.94, 10)
    assert verdict.accepted and not verdict.abstained


def test_a_drop_is_a_drop_and_a_test_asks_whether_it_is_chance() -> None:
    old, new = [True] * 100, [True] * 97 + [False] * 3
    assert not is_accepted(old, new=new, config=DROP)
    assert is_accepted(old, new=new, config=replace(DROP, margin=0.03))
    assert is_accepted(old, new=new, config=EXACT)
    assert not is_accepted(old, new=[True] * 90 + [False] * 10, config=EXACT)


@pytest.mark.parametrize("test", [GateTest.MCNEMAR, GateTest.BOOTSTRAP])
def test_safety_is_harder_to_show_than_harm(test: GateTest) -> None:
    old, new = [True] * 100, [index % 25 != 0 for index in range(100)]  # 4 lost, far apart
    undecided = replace(EXACT, test=test)
    assert is_accepted(old, new=new, config=undecided)
    assert not is_accepted(old, new=new, config=replace(undecided, burden=GateBurden.SAFETY))
    safe = replace(undecided, burden=GateBurden.SAFETY, margin=0.2)
    assert is_accepted(old, new=new, config=safe)


def test_a_bootstrap_is_less_sure_where_one_episode_went_wrong() -> None:
    old = [True] * 200
    one_episode = [False] * 10 + [True] * 190
    scattered = [index % 20 != 0 for index in range(200)]
    config = replace(EXACT, test=GateTest.BOOTSTRAP, margin=0.01)
    assert is_accepted(old, new=one_episode, config=config)
    assert not is_accepted(old, new=scattered, config=config)


def test_every_experience_counts_however_well_the_others_do() -> None:
    old = turn_scores([False] * 300, name="b") + turn_scores([True] * 100, name="a")
    new = turn_scores([True] * 300, name="b") + turn_scores([False] * 50 + [True] * 50, name="a")
    found = verdicts(old, new=new, config=EXACT)
    assert [(v.experience, v.accepted) for v in found] == [("a", False), ("b", True), (ALL, True)]
    assert not GateVerdict(past=found).accepted


def test_the_level_is_shared_by_the_experiences() -> None:
    old, new = [True] * 100, [True] * 93 + [False] * 7
    (alone,) = verdicts(turn_scores(old), new=turn_scores(new), config=EXACT)
    assert 0.01 < alone.p_worse <= 0.05 and not alone.accepted
    others = [score for name in "bcdef" for score in turn_scores(old, name=name)]
    found = verdicts(turn_scores(old) + others, new=turn_scores(new) + others, config=EXACT)
    assert found[0].p_worse == alone.p_worse and all(v.accepted for v in found)


def test_small_experiences_are_judged_as_a_part_of_the_whole_past() -> None:
    old = [score for name in "abc" for score in turn_scores([True] * 20, name=name)]
    new = [score for name in "abc" for score in turn_scores([False] * 20, name=name)]
    *alone, together = verdicts(old, new=new, config=EXACT)
    assert [v.experience for v in alone] == ["a", "b", "c"] and all(v.abstained for v in alone)
    assert (together.experience, together.num_turns, together.accepted) == (ALL, 60, False)


def test_harm_that_is_spread_thin_shows_in_the_whole_past() -> None:
    names = "abcdefgh"
    old = [score for name in names for score in turn_scores([True] * 100, name=name)]
    one_in_20 = [index % 20 != 0 for index in range(100)]
    new = [score for name in names for score in turn_scores(one_in_20, name=name)]
    found = verdicts(old, new=new, config=EXACT)
    assert [v.experience for v in found if not v.accepted] == [ALL]


def test_it_abstains_with_too_few_turns() -> None:
    old, new = turn_scores([True] * 10), turn_scores([False] * 10)
    (verdict,) = verdicts(old, new=new, config=replace(EXACT, min_turns=11))
    assert verdict.accepted and verdict.abstained and math.isnan(verdict.p_worse)
    assert not verdicts(old, new=new, config=replace(EXACT, min_turns=10))[0].accepted
    nothing = GateVerdict(past=verdicts([], new=[], config=replace(EXACT, min_turns=0)))
    assert nothing.accepted and nothing.abstained


def test_a_verdict_is_plain_json() -> None:
    old = turn_scores([True] * 10)
    told = GateVerdict(past=verdicts(old, new=old, config=EXACT)).to_json()
    assert told["experiences"][0]["p_worse"] is None and told["accepted"] and told["abstained"]


def test_it_refuses_to_compare_different_turns() -> None:
    with pytest.raises(ValueError, match="same turns"):
        verdicts(turn_scores([True]), new=turn_scores([True, True]), config=EXACT)


def with_losses(scores: Sequence[TurnScore], *, losses: Sequence[float]) -> list[TurnScore]:
    return [replace(score, loss=loss) for score, loss in zip(scores, losses, strict=True)]


def test_doubt_is_harm_before_there_are_mistakes() -> None:
    scores = turn_scores([True] * 200)
    old = with_losses(scores, losses=[0.1] * 200)
    new = with_losses(scores, losses=[0.5 + 0.1 * (index % 3) for index in range(200)])
    (verdict,) = verdicts(old, new=new, config=EXACT)
    assert not verdict.accepted and verdict.lost == 0
    assert verdict.loss_rise == pytest.approx(0.5, abs=0.01)
    assert verdicts(new, new=old, config=EXACT)[0].accepted
    (blind,) = verdicts(scores, new=scores, config=EXACT)
    assert blind.accepted and math.isnan(blind.p_doubt)


@pytest.mark.parametrize(
    ("past", "fresh", "expected"),
    [
        ({"p_sure": 0.01}, {"p_won": 0.9}, True),  # safe, whatever is won
        ({"p_sure": 0.6}, {"p_won": 0.01}, True),  # a win, and no harm shown
        ({"p_sure": 0.6}, {"p_won": 0.6}, False),
        ({"p_sure": 0.04}, {"p_won": 0.6}, False),  # two questions share the level
        ({"p_safe": 0.01}, {"p_won": 0.9}, True),  # a model that tells no probabilities
        ({"abstained": True}, {"p_won": 0.9}, None),
        ({"p_sure": 0.6}, {"abstained": True, "p_won": 0.9}, None),
    ],
)
def test_an_update_is_worth_it_where_the_past_is_safe_or_fresh_turns_are_won(
    past: dict[str, Any], fresh: dict[str, Any], expected: bool | None
) -> None:
    (plain,) = verdicts(turn_scores([True] * 60), new=turn_scores([True] * 60), config=EXACT)
    verdict = GateVerdict(past=(replace(plain, **past),), fresh=replace(plain, **fresh))
    found = is_worth_it(verdict, config=EXACT)
    assert found is expected
    assert replace(verdict, is_worth_it=found).accepted == (expected is not False)


def test_without_a_past_or_fresh_turns_nobody_asks() -> None:
    (plain,) = verdicts(turn_scores([True] * 60), new=turn_scores([True] * 60), config=EXACT)
    assert is_worth_it(GateVerdict(fresh=plain), config=EXACT) is None
    assert is_worth_it(GateVerdict(past=(plain,)), config=EXACT) is None


def test_wins_are_counted_without_a_margin() -> None:
    old, new = turn_scores([False] * 10 + [True] * 90), turn_scores([True] * 100)
    (verdict,) = verdicts(old, new=new, config=EXACT)
    assert verdict.p_won < 0.01 and verdicts(new, new=old, config=EXACT)[0].p_won > 0.9
