"""Imagination: what the model says is checked, and a breach is worth nothing."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace

import pytest

from dyna.imagination import Dream, ImaginedEnv, dream_envs, plan_dreams
from dyna.protocols import Env
from dyna.rollout import Limits, rollout
from dyna.types import Action, Context, Outcome, Source, Start, StopReason, Task, Trajectory, Turn

TASK = Task(id="room/train/0", world="room", family="room", split="train")
START = Start(observation="You are in a room.", hidden_state="The mug is in drawer 2.")
GO = Action(command="go")
WIN = Outcome(
    observation="Won.", reward=1.0, terminated=True, success=True, stop=StopReason.TERMINATED
)


class Prophet:
    """Predicts what it was told to, in order, and remembers what it was asked."""

    version = 4

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[tuple[int, str, int]] = []

    async def predict(self, context: Context, action: Action) -> Outcome:
        self.asked.append((context.length, context.episode_id, context.seed))
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]


def dream(
    *outcomes: Outcome,
    steps: int = 1,
    prefix: tuple[Turn, ...] = (),
    min_confidence: float = 0.0,
    min_win_confidence: float = 0.0,
    reward_bounds: tuple[float, float] = (0.0, 1.0),
) -> Outcome:
    env = ImaginedEnv(
        Prophet(*outcomes),
        start=START,
        prefix=prefix,
        min_confidence=min_confidence,
        min_win_confidence=min_win_confidence,
        reward_bounds=reward_bounds,
    )

    async def main() -> Outcome:
        await env.reset(TASK)
        for _ in range(steps - 1):
            assert (await env.step(GO)).stop is None
        return await env.step(GO)

    return asyncio.run(main())


def assert_worthless(outcome: Outcome, *, stop: StopReason) -> None:
    assert outcome.stop is stop
    assert outcome.reward == 0.0 and not outcome.success and not outcome.terminated


def test_an_imagined_env_is_an_env() -> None:
    assert isinstance(ImaginedEnv(Prophet(WIN), start=START), Env)


def test_what_the_model_predicts_passes_through() -> None:
    assert dream(WIN) == replace(WIN, valid=True)
    seen = dream(Outcome(observation="A desk.", confidence=0.8, token_ids=(1, 2)))
    assert seen == Outcome(observation="A desk.", confidence=0.8, token_ids=(1, 2), valid=True)


def test_a_doubtful_prediction_ends_the_dream() -> None:
    doubtful = Outcome(observation="A desk.", confidence=0.49)
    assert_worthless(dream(doubtful, min_confidence=0.5), stop=StopReason.UNTRUSTED)
    assert dream(replace(doubtful, confidence=0.5), min_confidence=0.5).stop is None


def test_a_confidence_that_is_no_number_is_no_confidence() -> None:
    outcome = replace(WIN, confidence=math.nan)
    assert_worthless(dream(outcome), stop=StopReason.UNTRUSTED)


def test_a_doubtful_win_does_not_count() -> None:
    doubtful = replace(WIN, confidence=0.9)
    assert_worthless(dream(doubtful, min_win_confidence=0.95), stop=StopReason.UNTRUSTED)
    assert dream(doubtful, min_win_confidence=0.9).success


def test_the_bar_for_wins_is_not_for_other_turns() -> None:
    assert dream(Outcome(observation="x", confidence=0.2), min_win_confidence=0.95).stop is None


@pytest.mark.parametrize("reward", [1.5, -0.5, math.nan, math.inf])
def test_a_reward_out_of_bounds_is_no_prediction(reward: float) -> None:
    assert_worthless(dream(replace(WIN, reward=reward)), stop=StopReason.UNPARSEABLE)


def test_bounds_hold_the_sum_of_an_episode() -> None:
    half = Outcome(observation="x", reward=0.5)
    assert dream(half, steps=2).stop is None
    assert_worthless(dream(half, steps=3), stop=StopReason.UNPARSEABLE)
    assert dream(half, steps=3, reward_bounds=(0.0, 2.0)).stop is None
    paid = (Turn(action=GO, outcome=Outcome(observation="x", reward=1.0)),)
    assert_worthless(dream(half, prefix=paid), stop=StopReason.UNPARSEABLE)


def test_rewards_that_sum_to_the_bound_are_within_it() -> None:
    assert dream(Outcome(observation="x", reward=0.1), steps=10).stop is None


def test_success_without_an_ending_is_no_prediction() -> None:
    lie = Outcome(observation="Won.", reward=1.0, success=True)
    assert_worthless(dream(lie), stop=StopReason.UNPARSEABLE)
    assert_worthless(dream(replace(lie, stop=StopReason.TERMINATED)), stop=StopReason.UNPARSEABLE)


def test_a_dream_ends_once() -> None:
    with pytest.raises(RuntimeError, match="call reset first"):
        asyncio.run(_step_after_the_end())


async def _step_after_the_end() -> None:
    env = ImaginedEnv(Prophet(WIN), start=START)
    await env.reset(TASK)
    await env.step(GO)
    await env.step(GO)


def test_an_unparseable_prediction_stays_so_and_is_worth_nothing() -> None:
    garbage = Outcome(observation="###", reward=1.0, stop=StopReason.UNPARSEABLE)
    assert_worthless(dream(garbage), stop=StopReason.UNPARSEABLE)


def test_admissible_commands_are_never_invented() -> None:
    assert dream(Outcome(observation="x", admissible=("fly",))).admissible is None


def test_invalid_actions_are_known_by_what_the_world_says() -> None:
    assert dream(Outcome(observation="Nothing happens. ")).valid is False
    assert dream(Outcome(observation="You open it.")).valid is True


def test_thresholds_out_of_range_and_ended_prefixes_are_refused() -> None:
    with pytest.raises(ValueError, match="min_win_confidence"):
        ImaginedEnv(Prophet(WIN), start=START, min_win_confidence=1.5)
    with pytest.raises(ValueError, match="branch"):
        ImaginedEnv(Prophet(WIN), start=START, prefix=(Turn(action=GO, outcome=WIN),))


def real(index: int, *, num_turns: int = 5, stop: StopReason = StopReason.TERMINATED) -> Trajectory:
    turns = tuple(
        Turn(action=Action(command=f"{index}.{k}"), outcome=Outcome(observation=str(k)))
        for k in range(num_turns - 1)
    )
    return Trajectory(
        id=f"real/{index}",
        task=replace(TASK, id=f"room/train/{index}"),
        start=replace(START, observation=f"Room {index}."),
        turns=(*turns, Turn(action=GO, outcome=WIN)),
        stop=stop,
    )


REAL = [real(i) for i in range(4)]


def test_dreams_come_in_groups_of_one_start_with_seeds_of_their_own() -> None:
    dreams = plan_dreams(REAL, num=32, group_size=8, seed=1)
    groups = Counter(d.spec.group_id for d in dreams)
    assert list(groups.values()) == [8, 8, 8, 8]
    for group_id in groups:
        members = [d for d in dreams if d.spec.group_id == group_id]
        assert len({(d.start, d.spec.task.id, d.spec.prefix) for d in members}) == 1
    assert len({d.spec.seed for d in dreams}) == 32
    assert len({d.spec.episode_id for d in dreams}) == 32
    assert {d.spec.task.id for d in dreams} == {t.task.id for t in REAL}


def test_a_plan_follows_from_its_seed() -> None:
    def plan(seed: int, round: int = 0) -> object:
        return plan_dreams(REAL, num=20, group_size=4, branch_fraction=0.5, seed=seed, round=round)

    assert plan(1) == plan(1)
    assert plan(1) != plan(2) and plan(1) != plan(1, round=1)


def test_num_dreams_is_exact() -> None:
    dreams = plan_dreams(REAL, num=10, group_size=4, seed=0)
    assert list(Counter(d.spec.group_id for d in dreams).values()) == [4, 4, 2]
    assert plan_dreams([], num=0, group_size=4, seed=0) == []


def test_branches_are_uniform_over_turns_and_never_at_the_end() -> None:
    dreams = plan_dreams(REAL, num=400, group_size=1, branch_fraction=1.0, seed=3)
    places = Counter(len(d.spec.prefix) for d in dreams)
    assert set(places) == {1, 2, 3, 4}
    assert min(places.values()) > 60
    for d in dreams:
        origin = next(t for t in REAL if t.task.id == d.spec.task.id)
        assert d.spec.prefix == origin.turns[: len(d.spec.prefix)]
        assert all(t.outcome.stop is None for t in d.spec.prefix)


def test_branch_fraction_is_of_groups() -> None:
    dreams = plan_dreams(REAL, num=800, group_size=2, branch_fraction=0.25, seed=3)
    branched = {d.spec.group_id for d in dreams if d.spec.prefix}
    assert 70 <= len(branched) <= 130


def test_an_episode_of_one_turn_has_no_turn_to_branch_at() -> None:
    dreams = plan_dreams([real(0, num_turns=1)], num=8, group_size=2, branch_fraction=1.0, seed=0)
    assert all(d.spec.prefix == () for d in dreams)


def test_failed_episodes_start_no_dreams() -> None:
    failed = real(9, stop=StopReason.ENV_TIMEOUT)
    dreams = plan_dreams([failed, *REAL], num=50, group_size=1, branch_fraction=0.5, seed=0)
    assert failed.task.id not in {d.spec.task.id for d in dreams}
    with pytest.raises(ValueError, match="no real episode to dream from"):
        plan_dreams([failed], num=1, group_size=1, seed=0)


def test_dreams_of_dreams_are_refused() -> None:
    imagined = replace(REAL[0], source=Source.IMAGINED)
    with pytest.raises(ValueError, match="dreams start from real episodes"):
        plan_dreams([imagined], num=1, group_size=1, seed=0)


class Goer:
    version = 2

    async def act(self, context: Context) -> Action:
        return GO


def test_played_dreams_carry_their_provenance() -> None:
    model = Prophet(Outcome(observation="A desk.", confidence=0.5))
    dreams = plan_dreams(REAL, num=6, group_size=3, branch_fraction=1.0, seed=0, round=2)
    played = asyncio.run(
        rollout(
            [d.spec for d in dreams],
            policy=Goer(),
            make_env=dream_envs(dreams, model=model),
            limits=Limits(max_turns=3),
            source=Source.IMAGINED,
            model_version=model.version,
        )
    )
    for planned, t in zip(dreams, played, strict=True):
        assert t.source is Source.IMAGINED and t.stop is StopReason.HORIZON
        assert t.branch_point == len(planned.spec.prefix) > 0
        assert len(t.new_turns) == 3 and t.turns[: t.branch_point] == planned.spec.prefix
        assert (t.model_version, t.policy_version, t.round) == (4, 2, 2)
        assert t.start == planned.start
    lengths = {(length - dict_of(dreams)[name], name) for length, name, _ in model.asked}
    assert {length for length, _ in lengths} == {0, 1, 2}
    assert len({seed for *_, seed in model.asked}) == len(model.asked)


def dict_of(dreams: list[Dream]) -> dict[str, int]:
    return {d.spec.episode_id: len(d.spec.prefix) for d in dreams}
