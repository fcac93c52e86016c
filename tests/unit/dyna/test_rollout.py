"""Rollout: failures are data, order is the specs', and every episode's randomness is its own."""

from __future__ import annotations

import asyncio
import math

import pytest

from dyna.rendering import ContextOverflow
from dyna.rollout import (
    EpisodeSpec,
    Limits,
    gather_groups,
    play_episode,
    rollout,
)
from dyna.types import (
    Action,
    Context,
    Outcome,
    Source,
    Start,
    StopReason,
    Task,
    Trajectory,
    Turn,
)
from tests.unit.dyna.rollout_parts import (
    LIMITS,
    TASK,
    CallingPolicy,
    CountingEnv,
    SeededPolicy,
    break_down,
    play,
    spec,
)


def test_an_episode_ends_with_the_worlds_reason_and_keeps_every_turn() -> None:
    env = CountingEnv()
    trajectory = play(env)
    assert trajectory.stop is StopReason.TERMINATED
    assert [t.outcome.observation for t in trajectory.turns] == ["Step 1.", "Step 2.", "Done."]
    assert trajectory.success and trajectory.total_reward == 1.0
    assert trajectory.policy_version == 7 and trajectory.model_version is None
    assert env.closed == 1


@pytest.mark.parametrize(
    ("source", "stop"),
    [(Source.REAL, StopReason.STEP_LIMIT), (Source.IMAGINED, StopReason.HORIZON)],
)
def test_max_turns_cuts_an_episode_without_ending_it(source: Source, stop: StopReason) -> None:
    trajectory = play(CountingEnv(goal=99), source=source)
    assert trajectory.stop is stop and len(trajectory.turns) == 5
    assert not trajectory.turns[-1].outcome.terminated


def test_max_turns_counts_from_the_end_of_the_prefix() -> None:
    prefix = (Turn(action=Action(command="a"), outcome=Outcome(observation="b")),) * 4
    episode = EpisodeSpec(task=TASK, episode_id="e", prefix=prefix)
    trajectory = play(CountingEnv(goal=99), source=Source.IMAGINED, episode=episode)
    assert len(trajectory.turns) == 9 and trajectory.branch_point == 4
    assert len(trajectory.new_turns) == 5


@pytest.mark.parametrize("stop", [StopReason.UNTRUSTED, StopReason.UNPARSEABLE])
def test_any_stop_of_an_outcome_ends_the_episode_with_that_reason(stop: StopReason) -> None:
    env = CountingEnv(before_step=lambda _: Outcome(observation="?", stop=stop))
    trajectory = play(env)
    assert trajectory.stop is stop and len(trajectory.turns) == 1


def test_a_raising_env_is_a_recorded_failure_without_reward() -> None:
    env = CountingEnv(before_step=lambda n: break_down(n) if n == 2 else None)
    trajectory = play(env)
    assert trajectory.stop is StopReason.ENV_ERROR
    assert "the kettle broke" in trajectory.error and "RuntimeError" in trajectory.error
    assert len(trajectory.turns) == 1 and trajectory.total_reward == 0.0
    assert not trajectory.success and env.closed == 1


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, "much", None])
def test_a_reward_that_is_no_finite_number_is_a_failure(reward: object) -> None:
    outcome = Outcome(observation="x", reward=reward, success=True)  # type: ignore[arg-type]
    trajectory = play(CountingEnv(before_step=lambda _: outcome))
    assert trajectory.stop is StopReason.ENV_ERROR and "reward" in trajectory.error
    assert trajectory.turns == () and not trajectory.success


def test_an_env_that_returns_no_outcome_is_a_failure() -> None:
    trajectory = play(CountingEnv(before_step=lambda _: "Nothing happens."))
    assert trajectory.stop is StopReason.ENV_ERROR and "not an Outcome" in trajectory.error


def test_an_env_that_reports_its_own_failure_keeps_no_turn_of_it() -> None:
    lost = Outcome(observation="host down", reward=1.0, stop=StopReason.LOST)
    trajectory = play(CountingEnv(before_step=lambda _: lost))
    assert trajectory.stop is StopReason.LOST and trajectory.error == "host down"
    assert trajectory.turns == ()


def test_a_hanging_async_env_times_out() -> None:
    env = CountingEnv(before_step=lambda _: asyncio.sleep(60))
    trajectory = play(env, limits=Limits(max_turns=5, step_timeout_s=0.02))
    assert trajectory.stop is StopReason.ENV_TIMEOUT and "step" in trajectory.error
    assert env.closed == 1


def test_an_answer_that_comes_after_the_limit_is_no_answer() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    env = CountingEnv(goal=1, before_step=lambda _: stubborn())
    trajectory = play(env, limits=Limits(max_turns=5, step_timeout_s=0.02))
    assert trajectory.stop is StopReason.ENV_TIMEOUT and not trajectory.success


def test_an_env_thatbreak_downs_its_own_timeout_error_is_broken_not_late() -> None:
    def refuse(_: int) -> None:
        raise TimeoutError("socket")

    assert play(CountingEnv(before_step=refuse)).stop is StopReason.ENV_ERROR


def test_a_raising_policy_is_a_recorded_failure() -> None:
    def fail(_: Context) -> Action:
        raise KeyError("no such tool")

    env = CountingEnv()
    trajectory = play(env, policy=CallingPolicy(fail))
    assert trajectory.stop is StopReason.POLICY_ERROR and "no such tool" in trajectory.error
    assert env.closed == 1


def test_a_policy_that_returns_no_action_is_a_recorded_failure() -> None:
    trajectory = play(CountingEnv(), policy=CallingPolicy(lambda _: "go"))  # type: ignore[arg-type, return-value]
    assert trajectory.stop is StopReason.POLICY_ERROR and "not an Action" in trajectory.error


@pytest.mark.parametrize("said", ["", "go " * 10_000, "\x00\ud83d\x1b[2J<|im_end|>"])
def test_whatever_a_policy_says_reaches_the_world(said: str) -> None:
    tokens = tuple(range(10_000))
    action = Action(command=said, token_ids=tokens, log_probs=(0.0,) * len(tokens))
    trajectory = play(CountingEnv(), policy=CallingPolicy(lambda _: action))
    assert trajectory.stop is StopReason.TERMINATED
    assert trajectory.turns[0].action is action


def test_a_full_context_cuts_the_episode_and_is_no_failure() -> None:
    def act(context: Context) -> Action:
        if context.length == 2:
            raise ContextOverflow("full")
        return Action(command="go")

    trajectory = play(CountingEnv(), policy=CallingPolicy(act))
    assert trajectory.stop is StopReason.CONTEXT_FULL
    assert not trajectory.stop.is_failure and len(trajectory.turns) == 2


def test_cancellation_propagates_and_closes_the_env() -> None:
    env = CountingEnv(before_step=lambda _: asyncio.sleep(60))

    async def main() -> None:
        playing = asyncio.create_task(
            play_episode(spec(), policy=SeededPolicy(), env=env, limits=LIMITS, source=Source.REAL)
        )
        await asyncio.sleep(0.02)
        playing.cancel()
        await playing

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert env.closed == 1


def test_a_world_whose_inner_task_was_cancelled_is_broken_and_cancels_nobody() -> None:
    def cancelled(_: int) -> None:
        raise asyncio.CancelledError

    assert play(CountingEnv(before_step=cancelled)).stop is StopReason.ENV_ERROR


def run_many(
    *, max_concurrent: int, num: int = 20, seen: list[str] | None = None
) -> list[Trajectory]:
    return asyncio.run(
        rollout(
            [spec(i) for i in range(num)],
            policy=SeededPolicy(),
            make_env=lambda s: CountingEnv(goal=1 + s.seed % 7),
            limits=LIMITS,
            source=Source.REAL,
            max_concurrent=max_concurrent,
            on_episode=None if seen is None else lambda t: seen.append(t.id),
        )
    )


def test_results_come_in_the_order_of_specs_and_progress_as_it_happens() -> None:
    seen: list[str] = []
    done = run_many(max_concurrent=8, seen=seen)
    assert [t.id for t in done] == [f"e{i}" for i in range(20)]
    assert sorted(seen) == sorted(t.id for t in done)


def test_what_plays_beside_an_episode_does_not_change_it() -> None:
    assert run_many(max_concurrent=1) == run_many(max_concurrent=3) == run_many(max_concurrent=64)


def test_every_turn_of_every_episode_has_a_seed_of_its_own() -> None:
    done = run_many(max_concurrent=4)
    commands = [turn.action.command for t in done for turn in t.turns]
    assert len(set(commands)) == len(commands)


def test_no_more_than_max_concurrent_episodes_run_at_once() -> None:
    running: list[int] = [0, 0]

    async def pause() -> None:
        running[0] += 1
        running[1] = max(running[1], running[0])
        await asyncio.sleep(0.001)
        running[0] -= 1

    asyncio.run(
        rollout(
            [spec(i) for i in range(12)],
            policy=SeededPolicy(),
            make_env=lambda _: CountingEnv(before_step=lambda _: pause()),
            limits=LIMITS,
            source=Source.REAL,
            max_concurrent=3,
        )
    )
    assert running[1] <= 3


def test_a_world_that_cannot_be_made_fails_its_own_episode_only() -> None:
    def make(episode: EpisodeSpec) -> CountingEnv:
        if episode.seed == 1:
            raise OSError("no such game file")
        return CountingEnv()

    done = asyncio.run(
        rollout(
            [spec(i) for i in range(3)],
            policy=SeededPolicy(),
            make_env=make,
            limits=LIMITS,
            source=Source.REAL,
        )
    )
    assert [t.stop.is_failure for t in done] == [False, True, False]
    assert "no such game file" in done[1].error


def test_errors_of_the_callers_own_code_are_loud() -> None:
    def fail(_: Trajectory) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(
            rollout(
                [spec(i) for i in range(3)],
                policy=SeededPolicy(),
                make_env=lambda _: CountingEnv(),
                limits=LIMITS,
                source=Source.REAL,
                on_episode=fail,
            )
        )


def trajectory(index: int, *, group: str, stop: StopReason = StopReason.TERMINATED) -> Trajectory:
    return Trajectory(
        id=str(index), task=TASK, start=Start(observation=""), turns=(), stop=stop, group_id=group
    )


def test_groups_are_whole_or_not_there() -> None:
    episodes = [
        trajectory(0, group="a"),
        trajectory(1, group="b", stop=StopReason.ENV_ERROR),
        trajectory(2, group=""),
        trajectory(3, group="a", stop=StopReason.HORIZON),
        trajectory(4, group="b"),
        trajectory(5, group=""),
    ]
    groups = gather_groups(episodes)
    assert [[t.id for t in g.trajectories] for g in groups] == [["0", "3"], ["2"], ["5"]]


def test_a_group_of_two_tasks_is_refused() -> None:
    other = Task(id="other", world="count", family="count", split="train")
    stray = Trajectory(
        id="1",
        task=other,
        start=Start(observation=""),
        turns=(),
        stop=StopReason.LOST,
        group_id="a",
    )
    with pytest.raises(ValueError, match="one task"):
        gather_groups([trajectory(0, group="a"), stray])
