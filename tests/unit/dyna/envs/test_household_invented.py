"""Vocabularies by name: words of their own, roles by seed, and every family possible."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import combinations

import pytest

from dyna.envs.household import ALFWORLD, SPLITS, Family, HouseholdWorld, vocabulary_named
from dyna.envs.household.goals import families_of_room
from dyna.envs.household.invented_vocabulary import THEMES
from dyna.testing import check_world
from dyna.types import Task
from experiments.base_model import vocabularies
from tests.unit.dyna.envs.household_play import play

ALL = [family.value for family in Family]
SEEDS = range(24)  # each theme three times


def world_of(name: str) -> HouseholdWorld:
    return HouseholdWorld(
        vocabulary=name, num_receptacles=6, num_objects=5, families=ALL, max_turns=60
    )


def words_of(theme: str) -> list[str]:
    return [word for words in THEMES[theme] for word in words.split()]


def test_no_two_themes_share_a_word_and_none_is_one_that_the_base_model_has_met() -> None:
    themes = {theme: words_of(theme) for theme in THEMES}
    assert all(len(set(words)) == len(words) for words in themes.values())
    for one, other in combinations(themes.values(), 2):
        assert set(one).isdisjoint(other)
    ours = {word for words in themes.values() for word in words}
    assert all(re.fullmatch("[a-z]+", word) for word in ours)
    alfworld = {kind.name for kind in (*ALFWORLD.receptacles, *ALFWORLD.objects)}
    exercised = {*vocabularies.RECEPTACLES, *vocabularies.OBJECTS, vocabularies.LAMP}
    assert ours.isdisjoint(alfworld | exercised)


def test_no_kind_is_a_word_of_the_sentences() -> None:
    world = HouseholdWorld(families=ALL, num_receptacles=8, num_objects=8, max_turns=60)
    said: set[str] = set()
    for task in world.tasks(split="train", num=100):
        start, turns = play(world, task, behavior=world.explorer)
        texts = [start.observation, start.hidden_state or ""]
        texts += [text for t in turns for text in (t.action.command, t.outcome.observation)]
        said |= {word for text in texts for word in re.findall("[a-z]+", text.lower())}
    assert said.isdisjoint(word for theme in THEMES for word in words_of(theme))


def test_equal_names_give_one_vocabulary_and_others_differ_in_roles() -> None:
    assert vocabulary_named("invented:3") is vocabulary_named("invented:3")
    assert vocabulary_named("alfworld") is ALFWORLD
    made = {seed: vocabulary_named(f"invented:{seed}") for seed in SEEDS}
    for seed, vocabulary in made.items():
        assert set(vocabulary.rooms) == {list(THEMES)[seed % len(THEMES)]}
        assert families_of_room(vocabulary, room=next(iter(vocabulary.rooms))) == set(Family)
    first, later = made[0], made[len(THEMES)]  # one theme, other roles
    shared = [k.name for k in first.receptacles if later.has_receptacle(k.name)]
    assert any(first.receptacle(name) != later.receptacle(name) for name in shared)


@pytest.mark.parametrize("name", ["", "invented", "invented:", "invented:-1", "invented:x", "Alf"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="'alfworld', or 'invented:<seed>'"):
        HouseholdWorld(vocabulary=name)


def test_a_name_has_one_spelling() -> None:
    with pytest.raises(ValueError, match="must be written 'invented:7'"):
        vocabulary_named("invented:07")


@pytest.mark.parametrize("seed", range(len(THEMES)))
def test_an_invented_household_keeps_the_contract_of_worlds(seed: int) -> None:
    check_world(world_of(f"invented:{seed}"))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_expert_solves_every_family_of_every_theme(seed: int) -> None:
    world = world_of(f"invented:{seed}")
    tasks = world.tasks(split="train", num=30)
    assert len({task.family for task in tasks}) >= 5
    for task in tasks:
        _, turns = play(world, task, behavior=world.expert)
        assert turns[-1].outcome.success, (task.id, turns)
        assert all(turn.outcome.valid for turn in turns)


@pytest.mark.parametrize("family", ALL)
def test_every_family_alone_is_possible_in_a_small_house(family: str) -> None:
    for seed in SEEDS:
        world = HouseholdWorld(vocabulary=f"invented:{seed}", families=[family])
        tasks = [task for split in SPLITS for task in world.tasks(split=split, num=5)]
        assert {task.family for task in tasks} == {family}


def test_a_task_travels_as_json_with_its_vocabularys_name() -> None:
    world = world_of("invented:5")
    for task in world.tasks(split="valid_unseen", num=10):
        copy = replace(task, params=json.loads(json.dumps(task.params)))
        assert copy.params["vocabulary"] == "invented:5"
        assert HouseholdWorld(vocabulary="invented:5").house(copy) == world.house(task)
    with pytest.raises(ValueError, match="make the world with the task's vocabulary"):
        HouseholdWorld(vocabulary="invented:13").house(copy)


def test_no_house_is_in_two_splits() -> None:
    world = world_of("invented:2")
    tasks: list[Task] = [t for s in SPLITS for t in world.tasks(split=s, num=300)]
    assert len({world.fingerprint(task) for task in tasks}) == len(tasks)


def test_alfworlds_words_are_recast_in_parts_that_share_none() -> None:
    made = [vocabulary_named(f"recast:{seed}") for seed in range(4)]
    words = [{kind.name for kind in (*v.receptacles, *v.objects)} for v in made]
    assert sum(map(len, words)) == len(set().union(*words)), "no word in two parts"
    assert set().union(*words) <= {k.name for k in (*ALFWORLD.receptacles, *ALFWORLD.objects)}
    again = vocabulary_named("recast:4")
    part = {kind.name for kind in (*again.receptacles, *again.objects)}
    assert all(part.isdisjoint(other) for other in words[1:]), "a part has its words for ever"
    for vocabulary in made:
        (room,) = vocabulary.rooms
        assert families_of_room(vocabulary, room=room) == frozenset(Family)


def test_the_expert_solves_recast_households() -> None:
    world = world_of("recast:2")
    for task in world.tasks(split="train", num=12):
        _, turns = play(world, task, behavior=world.expert)
        assert turns[-1].outcome.success
