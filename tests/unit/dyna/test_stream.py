"""The walk through a stream: which round is of which experience, and what the loop does there."""

from __future__ import annotations

import pytest

from dyna.config import ImaginationConfig, RealConfig
from dyna.configuring import ConfigError, load
from dyna.envs.stream import StreamWorld
from dyna.replay import ExperienceBalancedBuffer
from dyna.stream import Experience, Stream, experience_of, split_of, world_of
from dyna.types import Metrics
from tests.golden.dyna_q import make_loop

REAL = RealConfig(demonstrations=0, explorations=2, episodes_per_round=3)
SHORT = {"name": "corridor", "params": {"num_doors": 2, "seed": 1}}
LONG = {"name": "corridor", "params": {"num_doors": 3, "seed": 2}}


def two_experiences() -> Stream:
    return Stream(
        [
            Experience(name="short", real=REAL, rounds=2),
            Experience(name="long", real=REAL, rounds=1),
        ]
    )


def test_rounds_are_numbered_through_and_every_experience_opens() -> None:
    stream = two_experiences()
    places = [stream.at(round) for round in range(stream.last_round + 1)]
    assert [(p.experience.name, p.round) for p in places] == [
        ("short", 0), ("short", 1), ("short", 2), ("long", 0), ("long", 1),
    ]  # fmt: skip
    assert [p.is_opening for p in places] == [True, False, False, True, False]
    assert [p.is_last for p in places] == [False, False, True, False, True]
    assert stream.at(7).experience.name == "long"


def test_joint_training_is_the_same_worlds_and_budget_without_an_order() -> None:
    parts = [
        {"name": "a", "rounds": 2, "real": {"demonstrations": 3, "episodes_per_round": 4}},
        {"name": "b", "rounds": 1, "real": {"explorations": 5, "episodes_per_round": 10}},
    ]
    overrides = [f"stream.experiences={parts}", "stream.joint=true"]
    config = load(overrides=[*overrides, "world.params={rooms: [kitchen]}"])
    stream = Stream.of(config)
    assert not stream.is_continual and stream.last_round == 3
    real = stream.experiences[0].real
    defaults = RealConfig()
    assert real.demonstrations == 3 + defaults.demonstrations
    assert real.explorations == defaults.explorations + 5
    assert real.episodes_per_round * 3 == 2 * 4 + 10
    assert list(world_of(config).params["worlds"]) == ["a", "b"]


def test_a_run_of_one_world_is_a_stream_without_a_name() -> None:
    stream = Stream.of(load(overrides=["rounds=4", "real.explorations=7"]))
    assert not stream.is_continual and stream.last_round == 4
    assert stream.at(3).experience.real.explorations == 7
    assert split_of("", split="train") == "train"


@pytest.mark.parametrize("names", [("a", "a"), ("a", ""), ()])
def test_experiences_need_names_of_their_own(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="names of their own"):
        Stream([Experience(name=name, real=REAL, rounds=1) for name in names])


def test_a_stream_of_the_runs_own_world_changes_its_params() -> None:
    world = world_of(
        load(
            overrides=[
                "world.params={rooms: [kitchen], num_objects: 3}",
                "stream.experiences=[{name: heat, params: {families: [heat]}},"
                " {name: walk, world: corridor, params: {num_doors: 2}}]",
            ]
        )
    )
    assert world.name == "stream"
    assert world.params["worlds"] == {
        "heat": {
            "name": "household",
            "params": {"rooms": ["kitchen"], "num_objects": 3, "families": ["heat"]},
        },
        "walk": {"name": "corridor", "params": {"num_doors": 2}},
    }


@pytest.mark.parametrize(
    ("experiences", "told"),
    [
        ("[{name: a}, {name: a}]", "one word of its own"),
        ("[{params: {}}]", "one word of its own"),
        ("[{name: 'a/b'}]", "one word of its own"),
        (
            "[{name: a, rounds: 0, real: {demonstrations: 0, explorations: 0}}]",
            "may spend nothing in the real world",
        ),
        ("[{name: a, rounds: -1}]", "must not hold negative numbers"),
    ],
)
def test_a_stream_that_cannot_be_learned_is_refused(experiences: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(overrides=[f"stream.experiences={experiences}"])


class MeasuredRounds:
    """Notes when it was asked."""

    def __init__(self) -> None:
        self.rounds: list[int] = []

    def evaluate(self, round: int) -> Metrics:
        self.rounds.append(round)
        return {}


def test_the_loop_walks_the_stream() -> None:
    world = StreamWorld(worlds={"short": SHORT, "long": LONG})
    measured = MeasuredRounds()
    loop = make_loop(
        world=world,
        stream=two_experiences(),
        imagination=ImaginationConfig(episodes_per_round=0),
        evaluator=measured,
        replay=ExperienceBalancedBuffer(max_transitions=10_000),
    )
    rounds = list(loop.run(first_round=0, last_round=loop.stream.last_round))
    assert measured.rounds == [2, 4], "every experience is measured at the end of each"
    held = loop.replay
    assert isinstance(held, ExperienceBalancedBuffer)
    played = list(held.trajectories())
    by_experience = [experience_of(t.task) for t in played]
    assert by_experience == ["short"] * (2 + 2 * 3) + ["long"] * (2 + 3)
    assert set(held.num_transitions_by_kind) == {"short", "long"}
    assert len({t.task.id for t in played}) == len(played), "no task is played twice"
    assert rounds[-1][1]["real/memory_bytes"] == held.num_bytes > 0
