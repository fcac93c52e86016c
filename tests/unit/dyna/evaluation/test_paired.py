"""Paired tests: published values, exact sizes by enumeration, and what clusters change."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from dyna.evaluation.paired import _score, cluster_bootstrap, holm, mcnemar


def test_the_score_is_tangos_on_his_own_data() -> None:
    """Soft contact lenses: of 44 one was discordant, against the new; margin 0.1, Z = 1.709."""
    score = _score(np.array([0]), losses=np.array([1]), num=44, shift=-0.1)
    assert score[0] == pytest.approx(1.709, abs=5e-4)


def test_by_far_the_most_common_table_is_no_evidence() -> None:
    equal = mcnemar(lost=5, gained=5, num=100)
    assert equal.drop == 0.0 and equal.p_worse > 0.5 and equal.p_safe > 0.5
    assert mcnemar(lost=0, gained=0, num=40).p_worse > 0.5


def test_without_discordant_pairs_it_is_the_chance_of_none() -> None:
    # A drop of at least the margin makes a turn discordant at least that often.
    test = mcnemar(lost=0, gained=0, num=100, margin=0.05)
    assert 0.95**100 <= test.p_safe <= 3 * 0.95**100
    assert test.p_worse > 0.99


@pytest.mark.parametrize("num", [12, 35])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.2])
def test_a_true_hypothesis_is_rejected_no_more_often_than_the_level(
    num: int, margin: float
) -> None:
    """By enumeration of every table, over the unknown share of discordant pairs."""
    level = 0.05
    tables = [(b, c) for b in range(num + 1) for c in range(num + 1 - b)]
    tests = [mcnemar(lost=b, gained=c, num=num, margin=margin) for b, c in tables]
    counts = np.array([(b, c, num - b - c) for b, c in tables])
    worst_worse = worst_safe = 0.0
    for share in np.linspace(max(margin, 0.01), 1.0, 37):
        lost, gained = (share + margin) / 2, (share - margin) / 2
        odds = stats.multinomial.pmf(counts, num, [lost, gained, 1 - lost - gained])
        worst_worse = max(worst_worse, odds[[t.p_worse <= level for t in tests]].sum())
        worst_safe = max(worst_safe, odds[[t.p_safe <= level for t in tests]].sum())
    # Between the points of the nuisance grid the chance may exceed its maximum on it by a hair.
    assert worst_worse <= level * 1.01 and worst_safe <= level * 1.01
    assert worst_worse > 0.02 or margin == 0.2


def test_with_many_turns_it_is_the_normal_approximation() -> None:
    lost, gained, num, margin = 120, 60, 1500, 0.02
    z = _score(np.array([lost]), losses=np.array([gained]), num=num, shift=margin)[0]
    exact = mcnemar(lost=lost, gained=gained, num=num, margin=margin)
    assert exact.p_worse == pytest.approx(stats.norm.sf(z), abs=0.01)


@pytest.mark.parametrize("gained", [0, 3])
def test_more_lost_turns_are_more_evidence(gained: int) -> None:
    tests = [mcnemar(lost=lost, gained=gained, num=60, margin=0.05) for lost in range(20)]
    for less, more in pairwise(tests):
        assert more.p_worse <= less.p_worse + 1e-12 and more.p_safe >= less.p_safe - 1e-12


def test_mcnemar_is_about_the_conditional_test_where_there_is_no_margin() -> None:
    conditional = stats.binomtest(14, 18, alternative="greater").pvalue
    assert conditional / 3 < mcnemar(lost=14, gained=4, num=200).p_worse <= conditional


@pytest.mark.parametrize(("lost", "gained", "num"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(lost: int, gained: int, num: int) -> None:
    with pytest.raises(ValueError, match="lost and gained"):
        mcnemar(lost=lost, gained=gained, num=num)


@pytest.mark.parametrize("margin", [-0.1, 1.0, math.nan])
def test_margins_out_of_range_are_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        mcnemar(lost=0, gained=0, num=5, margin=margin)


@pytest.mark.parametrize("margin", [-0.1, math.nan])
def test_a_bootstrap_refuses_margins_below_zero(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must be >= 0"):
        cluster_bootstrap([0], clusters=["a"], margin=margin, seed=0)


def test_the_bootstrap_agrees_with_the_exact_test_where_turns_are_their_own_clusters() -> None:
    differences = [1] * 30 + [-1] * 10 + [0] * 360
    clusters = [str(index) for index in range(400)]
    found = cluster_bootstrap(differences, clusters=clusters, margin=0.02, seed=0)
    exact = mcnemar(lost=30, gained=10, num=400, margin=0.02)
    assert found.drop == exact.drop == 0.05
    assert found.p_worse == pytest.approx(exact.p_worse, abs=0.02)
    assert found.p_safe == pytest.approx(exact.p_safe, abs=0.02)


def test_the_bootstrap_counts_an_episode_once() -> None:
    differences = [1] * 20 + [0] * 380
    together = [str(index // 20) for index in range(400)]
    scattered = [str(index % 20) for index in range(400)]
    assert cluster_bootstrap(differences, clusters=together, seed=0).p_worse > 0.3
    assert cluster_bootstrap(differences, clusters=scattered, seed=0).p_worse < 0.001


def test_the_bootstrap_rejects_about_its_level_with_many_episodes() -> None:
    """Of 400 true hypotheses at level 0.05 it rejects 20 by expectation: 36 or more by chance in
    less than one of 2000, by the binomial distribution."""
    rng = np.random.default_rng(0)
    num_rejected = 0
    for trial in range(400):
        luck = np.repeat(rng.normal(size=40), 8)  # shared by the turns of an episode
        differences = np.sign(luck + rng.normal(size=320)) * (rng.random(320) < 0.2)
        found = cluster_bootstrap(
            [int(d) for d in differences],
            clusters=[str(index // 8) for index in range(320)],
            seed=trial,
            num_resamples=400,
        )
        num_rejected += found.p_worse <= 0.05
    assert num_rejected < 36


def test_a_seed_gives_the_same_bootstrap() -> None:
    def p(seed: int) -> float:
        return cluster_bootstrap([1, 0, -1, 1, 0, 1], clusters=[*"abcdef"], seed=seed).p_worse

    assert p(1) == p(1) and p(1) != p(2)


def test_a_bootstrap_without_turns_is_refused() -> None:
    with pytest.raises(ValueError, match="needs turns"):
        cluster_bootstrap([], clusters=[], seed=0)


def test_holm_against_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.2]) == [0.2] and holm([0.9, 0.8]) == [1.0, 1.0]
