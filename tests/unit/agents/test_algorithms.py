"""Credit assignment: the published formulas, and what may not be learned from."""

from __future__ import annotations

import pytest

from agents.algorithms.filtered_bc import FilteredBC
from agents.algorithms.grpo import GRPO
from agents.algorithms.ppo_clip import PPOClip
from agents.algorithms.reinforce import Reinforce
from dyna.protocols import Algorithm
from dyna.types import (
    Action,
    Outcome,
    Source,
    Start,
    StopReason,
    Task,
    Trajectory,
    TrajectoryGroup,
    Turn,
)

TASK = Task(id="t/0", world="t", family="t", split="train")


def turn(reward: float = 0.0, *, valid: bool | None = True, success: bool = False) -> Turn:
    outcome = Outcome(observation="ok", reward=reward, valid=valid, success=success)
    return Turn(action=Action(command="go", token_ids=(5, 3), log_probs=(-1, -1)), outcome=outcome)


def episode(
    *rewards: float, stop: StopReason = StopReason.STEP_LIMIT, branch_point: int = 0
) -> Trajectory:
    """A reward of 1 at the end is a success."""
    turns = [turn(r) for r in rewards]
    if rewards and rewards[-1] == 1.0:
        turns[-1] = turn(1.0, success=True)
        stop = StopReason.TERMINATED
    return Trajectory(
        id="e",
        task=TASK,
        start=Start(observation="Start."),
        turns=tuple(turns),
        stop=stop,
        source=Source.IMAGINED,
        branch_point=branch_point,
    )


def group(*trajectories: Trajectory) -> TrajectoryGroup:
    return TrajectoryGroup(task=TASK, trajectories=trajectories)


ALL: list[Algorithm] = [FilteredBC(), Reinforce(), GRPO(), PPOClip()]


@pytest.mark.parametrize("algorithm", ALL)
def test_nothing_gives_no_credit(algorithm: Algorithm) -> None:
    assert isinstance(algorithm, Algorithm)
    assert algorithm([]) == []
    assert algorithm([group(episode(0, 0), episode(0))]) == []


@pytest.mark.parametrize("algorithm", ALL)
def test_a_failed_episode_is_refused(algorithm: Algorithm) -> None:
    broken = episode(0, 0, stop=StopReason.ENV_ERROR)
    with pytest.raises(ValueError, match=r"failed \(env_error\)"):
        algorithm([group(episode(1), broken)])


@pytest.mark.parametrize("algorithm", ALL)
def test_a_real_prefix_gets_no_credit(algorithm: Algorithm) -> None:
    won, lost = episode(0, 0, 1, branch_point=2), episode(0, 0, 0, branch_point=2)
    for credit in algorithm([group(won, lost)]):
        weights = credit.rl or credit.ce
        assert len(weights) == 3
        assert weights[:2] == (0.0, 0.0)
        assert weights[2] != 0.0


@pytest.mark.parametrize("stop", [StopReason.UNTRUSTED, StopReason.UNPARSEABLE])
@pytest.mark.parametrize("algorithm", [Reinforce(), GRPO(), PPOClip()])
def test_an_action_without_answer_gets_no_credit(algorithm: Algorithm, stop: StopReason) -> None:
    credits = algorithm([group(episode(0, 1), episode(0, 0, 0, stop=stop), episode(0, stop=stop))])
    assert [len(credit.trajectory.turns) for credit in credits] == [2, 2]
    won, cut = credits
    assert won.rl[0] > 0 > cut.rl[0]
    assert len(cut.rl) == 2
    # The third has no turn left to learn from, and still counts in the baseline.
    if isinstance(algorithm, Reinforce):
        assert won.rl == (1.0, 1.0)
        assert cut.rl == (-0.5, -0.5)


def test_reinforce_leaves_one_out() -> None:
    credits = Reinforce()([group(episode(0, 1), episode(0, 0, 0), episode(0))])
    assert [credit.rl for credit in credits] == [(1.0, 1.0), (-0.5, -0.5, -0.5), (-0.5,)]


def test_grpo_divides_by_the_deviation_unless_told_not_to() -> None:
    members = group(episode(0, 1), episode(0, 0), episode(0, 0), episode(1))
    assert [credit.rl for credit in GRPO()([members])] == [(1, 1), (-1, -1), (-1, -1), (1,)]
    plain = GRPO(normalize_std=False)([members])
    assert [credit.rl[0] for credit in plain] == [0.5, -0.5, -0.5, 0.5]


def test_groups_are_compared_within_themselves_only() -> None:
    first, second = group(episode(1), episode(0)), group(episode(1), episode(1))
    for algorithm in (GRPO(), Reinforce()):
        assert algorithm([first, second]) == algorithm([first])


@pytest.mark.parametrize("algorithm", [Reinforce(gamma=0.9), GRPO(gamma=0.9), PPOClip(gamma=0.9)])
def test_with_a_discount_a_shorter_win_is_worth_more(algorithm: Algorithm) -> None:
    short, long = algorithm([group(episode(0, 1), episode(0, 0, 0, 1))])
    assert short.rl[0] > 0 > long.rl[0]


def test_ppo_takes_the_group_mean_or_for_one_alone_the_batch_mean() -> None:
    pair = group(episode(0, 1), episode(0, 0))
    alone = group(episode(0, 0))
    credits = PPOClip(normalize=False)([pair, alone])
    assert [credit.rl[0] for credit in credits] == pytest.approx([0.5, -0.5, -1 / 3])
    alone_only = PPOClip(normalize=False)([group(episode(1)), group(episode(0))])
    assert [credit.rl for credit in alone_only] == [(0.5,), (-0.5,)]


def test_ppo_with_a_short_memory_credits_the_last_turns() -> None:
    won, _ = PPOClip(lam=0.5, normalize=False)([group(episode(0, 0, 1), episode(0, 0, 0))])
    assert won.rl == pytest.approx((0.125, 0.25, 0.5))


def test_ppo_advantages_have_unit_size_when_normalized() -> None:
    credits = PPOClip()([group(episode(0, 1), episode(0, 0, 0))])
    flat = [value for credit in credits for value in credit.rl]
    assert sum(value**2 for value in flat) / len(flat) == pytest.approx(1.0)


def test_cloning_takes_successes_and_leaves_out_invalid_actions() -> None:
    won = episode(0, 0, 1)
    turns = (turn(valid=False), turn(valid=None), won.turns[-1])
    mixed = Trajectory(id="m", task=TASK, start=won.start, turns=turns, stop=StopReason.TERMINATED)
    credits = FilteredBC()([group(mixed, episode(0, 0))])
    assert [credit.ce for credit in credits] == [(0.0, 1.0, 1.0)]
    assert FilteredBC(only_valid=False)([group(mixed)])[0].ce == (1.0, 1.0, 1.0)


def test_cloning_may_take_a_return_instead_of_a_success() -> None:
    partial = episode(0, 0.5)
    assert FilteredBC()([group(partial)]) == []
    assert FilteredBC(min_return=0.5)([group(partial)])[0].ce == (1.0, 1.0)
    assert FilteredBC(min_return=0.6)([group(partial)]) == []


def test_cloning_weighs_shorter_wins_more() -> None:
    short, long = FilteredBC(gamma=0.5)([group(episode(1), episode(0, 0, 1))])
    assert short.ce == (1.0,)
    assert long.ce == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("algorithm", [FilteredBC, Reinforce, GRPO, PPOClip])
def test_a_senseless_discount_is_refused(algorithm: type) -> None:
    with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\], got 1.5"):
        algorithm(gamma=1.5)
