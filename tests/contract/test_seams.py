"""The public contract kit on every built-in part, and on parts that break the contract."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from agents.tabular import TabularPolicy
from dyna.engines.scripted import ScriptedEngine
from dyna.envs.corridor import CorridorEnv, CorridorWorld
from dyna.envs.household import HouseholdWorld
from dyna.envs.threads import ThreadedEnv
from dyna.imagination import ImaginedEnv
from dyna.plugins import BUILT_IN, resolve
from dyna.protocols import GenerationRequest, ReplayBuffer
from dyna.replay import ReservoirBuffer
from dyna.replay.reservoir import SmallestKeys
from dyna.testing import (
    check_algorithm,
    check_engine,
    check_env,
    check_policy,
    check_regularizer,
    check_replay_buffer,
    check_stateful,
    check_world,
    check_world_model,
    check_world_model_learner,
    sample_trajectories,
)
from dyna.types import Action, Context, Credit, Outcome, Start, Task, TrajectoryGroup
from worldmodels.tabular import TabularWorldModel

CORRIDOR = CorridorWorld(num_doors=3)


def make_buffer(name: str) -> ReplayBuffer:
    return resolve("replay_buffers", name)(max_transitions=1000, max_bytes=2**20, seed=0)


def learned_model() -> TabularWorldModel:
    model = TabularWorldModel()
    model.update(sample_trajectories(), make_buffer("fifo"))
    return model


@pytest.mark.parametrize("world", [CORRIDOR, HouseholdWorld()], ids=lambda w: type(w).__name__)
def test_built_in_worlds_keep_their_seam(world: Any) -> None:
    check_world(world)


def test_an_isolated_world_is_still_that_world() -> None:
    (task,) = CORRIDOR.tasks(split="train", num=1)
    check_env(lambda: ThreadedEnv(CORRIDOR.make), task=task)


def test_an_imagined_world_is_a_world() -> None:
    episode = sample_trajectories()[0]
    commands = [turn.action.command for turn in episode.turns]
    model = learned_model()
    check_env(
        lambda: ImaginedEnv(model, start=episode.start),
        task=episode.task,
        commands=commands,
    )


def test_the_tabular_parts_keep_their_seams() -> None:
    check_policy(TabularPolicy())
    check_world_model(learned_model())
    check_world_model_learner(TabularWorldModel(), replay=make_buffer("fifo"))
    check_stateful(learned_model(), fresh=TabularWorldModel(), observe=lambda m: m._counts)


@pytest.mark.parametrize("name", sorted(BUILT_IN["replay_buffers"]))
def test_built_in_buffers_keep_their_seam(name: str) -> None:
    room = {"max_transitions": 60, "max_bytes": 20_000}
    check_replay_buffer(lambda: resolve("replay_buffers", name)(**room, seed=1), **room)


@pytest.mark.parametrize("name", sorted(BUILT_IN["regularizers"]))
def test_built_in_regularizers_keep_their_seam(name: str) -> None:
    needs_adapter = name == "lora_per_experience"
    check_regularizer(resolve("regularizers", name), lora_rank=4 if needs_adapter else 0)


@pytest.mark.parametrize("name", sorted(BUILT_IN["regularizers"]))
def test_built_in_regularizers_keep_their_seam_on_an_adapter(name: str) -> None:
    check_regularizer(resolve("regularizers", name), lora_rank=2)


def test_an_engine_without_a_model_keeps_its_seam() -> None:
    def reply(request: GenerationRequest) -> Sequence[int]:
        return request.choices[0] if request.choices else (5,) * request.max_new_tokens

    check_engine(ScriptedEngine(reply), prompt=(1, 2, 3))


@pytest.mark.parametrize("name", sorted(BUILT_IN["algorithms"]))
def test_built_in_algorithms_keep_their_seam(name: str) -> None:
    check_algorithm(resolve("algorithms", name)())


class BrokenEnv(CorridorEnv):
    """A corridor whose answers pass through `spoil`."""

    def __init__(self, spoil: Callable[[Outcome], Any]) -> None:
        super().__init__(CORRIDOR.way, max_turns=20)
        self._spoil = spoil

    async def step(self, action: Action) -> Outcome:
        return self._spoil(await super().step(action))


def _refuse(outcome: Outcome) -> Outcome:
    raise KeyError(outcome.observation)


@pytest.mark.parametrize(
    ("spoil", "lesson"),
    [
        (lambda o: o.observation, "must be an Outcome"),
        (lambda o: replace(o, reward=float("nan")), "must be a finite float"),
        (lambda o: replace(o, success=True), "a task is done once"),
        (lambda o: replace(o, terminated=True), "must agree"),
        (lambda o: replace(o, confidence=2.0), r"must be in \[0, 1\]"),
        (lambda o: replace(o, admissible=["go left"]), "must be a tuple"),
    ],
)
def test_the_kit_teaches_what_is_wrong_with_a_world(
    spoil: Callable[[Outcome], Any], lesson: str
) -> None:
    (task,) = CORRIDOR.tasks(split="train", num=1)
    with pytest.raises(AssertionError, match=lesson):
        check_env(lambda: BrokenEnv(spoil), task=task)


def test_the_kit_finds_hidden_randomness() -> None:
    visits: list[int] = []

    class Moody(CorridorEnv):
        async def reset(self, task: Task) -> Start:
            visits.append(1)
            return replace(await super().reset(task), observation=f"Visit {len(visits)}.")

    (task,) = CORRIDOR.tasks(split="train", num=1)
    with pytest.raises(AssertionError, match="same answers"):
        check_env(lambda: Moody(CORRIDOR.way, max_turns=9), task=task)


def test_the_kit_finds_a_policy_with_a_die_of_its_own() -> None:
    class Dice:
        version = 0
        thrown = 0

        async def act(self, context: Context) -> Action:
            self.thrown += 1
            return Action(command=f"go {self.thrown}")

    with pytest.raises(AssertionError, match=r"context\.seed"):
        check_policy(Dice())


def test_the_kit_finds_a_model_that_raises_or_invents() -> None:
    class Fragile:
        version = 0

        async def predict(self, context: Context, action: Action) -> Outcome:
            return Outcome(observation=action.command.split()[0])

    class Inventor:
        version = 0

        async def predict(self, context: Context, action: Action) -> Outcome:
            return Outcome(observation="x", admissible=("fly",))

    with pytest.raises(AssertionError, match="must not raise"):
        check_world_model(Fragile())
    with pytest.raises(AssertionError, match="invent"):
        check_world_model(Inventor())


def test_the_kit_finds_a_buffer_that_takes_dreams() -> None:
    class Naive:
        def __init__(self) -> None:
            self.held: list[Any] = []

        def add(self, trajectory: Any) -> None:
            self.held.append(trajectory)

        def sample(self, num_turns: int) -> list[Any]:
            return self.held * num_turns

        def __len__(self) -> int:
            return sum(len(t.turns) for t in self.held)

    with pytest.raises(AssertionError, match="imagined"):
        check_replay_buffer(Naive)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"_make_room": lambda self: None}, "over the 60 of max_transitions"),
        ({"_uniform": lambda self, entries: random.choice(entries)}, "randomness from the seed"),
        ({"load": lambda self, folder: None}, "came back from disk"),
        ({"_note_all": lambda self, state: None}, "as if nothing had happened"),
        ({"sample": lambda self, num: list(self.trajectories())[:num]}, "at least as many turns"),
    ],
    ids=["no bound", "own randomness", "no load", "half a load", "too few"],
)
def test_the_kit_finds_what_a_buffer_breaks(broken: dict[str, Any], words: str) -> None:
    class Forgetful(ReservoirBuffer):
        """A reservoir, but for one mistake."""

        def __post_init__(self) -> None:
            super().__post_init__()
            self._kept = SmallestKeys()

    for name, method in broken.items():
        setattr(Forgetful, name, method)
    with pytest.raises(AssertionError, match=words):
        check_replay_buffer(lambda: Forgetful(max_transitions=60, seed=1), max_transitions=60)


def test_the_kit_finds_credit_that_does_not_fit() -> None:
    def generous(groups: Sequence[TrajectoryGroup]) -> list[Credit]:
        return [Credit(trajectory=t, rl=(1.0,)) for g in groups for t in g.trajectories]

    with pytest.raises(AssertionError, match="one number for each"):
        check_algorithm(generous)


def test_a_reservoir_survives_a_save() -> None:
    buffer = make_buffer("reservoir")
    for trajectory in sample_trajectories():
        buffer.add(trajectory)
    assert isinstance(buffer, ReservoirBuffer)
    fresh = ReservoirBuffer(max_transitions=1000, max_bytes=2**20, seed=1)
    check_stateful(buffer, fresh=fresh, observe=lambda b: list(b.trajectories()))
