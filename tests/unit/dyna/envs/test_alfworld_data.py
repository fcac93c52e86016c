"""Where official games come from: a folder, a pack, the cache, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from dyna.envs.alfworld import AlfworldWorld
from dyna.envs.alfworld.games import stated_task
from dyna.files import DamagedFileError
from tests.unit.dyna.envs.alfworld_data import row, rows, write_folder, write_pack

GAMES = rows()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DYNA_CACHE", str(folder))
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    return folder / "alfworld"


def test_a_folder_and_a_pack_of_the_same_games_are_the_same_world(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder", games=GAMES)
    packs = [write_pack(tmp_path / name, games=GAMES) for name in ("g.jsonl", "g.jsonl.xz")]
    (tmp_path / "g.jsonl.gz").write_bytes(gzip.compress(packs[0].read_bytes()))
    paths = [folder, folder / "json_2.1.1", *packs, tmp_path / "g.jsonl.gz"]
    first, *others = [AlfworldWorld(data=str(path)) for path in paths]
    sizes = {"train": 11, "valid_seen": 6, "valid_unseen": 6, "valid_train": 6}
    assert first.splits == sizes
    for other in others:
        assert other.splits == sizes
        for split, size in sizes.items():
            tasks = other.tasks(split=split, num=size)
            assert tasks == first.tasks(split=split, num=size)
            assert all(other.house(task) == first.house(task) for task in tasks)


def test_a_pack_is_unpacked_once(tmp_path: Path, own_cache: Path) -> None:
    path = write_pack(tmp_path / "games.jsonl.xz", games=GAMES)
    AlfworldWorld(data=str(path))
    made = {file.name: file.stat().st_mtime_ns for file in own_cache.iterdir()}
    assert len(made) == 2
    world = AlfworldWorld(data=str(path))
    assert world.house(world.tasks(split="train", num=1)[0]).receptacles
    assert {file.name: file.stat().st_mtime_ns for file in own_cache.iterdir()} == made


@pytest.mark.parametrize(
    ("source", "kind"), [("pack", "*.json"), ("pack", "*.problems"), ("folder", "*.json")]
)
def test_a_damaged_cache_is_made_again(
    source: str, kind: str, tmp_path: Path, own_cache: Path
) -> None:
    if source == "pack":
        path = write_pack(tmp_path / "games.jsonl.xz", games=GAMES)
    else:
        path = write_folder(tmp_path / "folder", games=GAMES)
    before = AlfworldWorld(data=str(path)).tasks(split="train", num=11)
    for damage in (b"", b"{", b'{"format": 0}', b'{"format": 1, "games": [{"x": 1}]}'):
        for file in own_cache.glob(kind):
            file.write_bytes(damage)
        world = AlfworldWorld(data=str(path))
        assert world.tasks(split="train", num=11) == before
        assert world.house(before[0]).receptacles


def test_a_problem_damaged_in_the_cache_names_the_file_to_delete(
    tmp_path: Path, own_cache: Path
) -> None:
    path = write_pack(tmp_path / "games.jsonl", games=GAMES)
    world = AlfworldWorld(data=str(path))
    (file,) = own_cache.glob("*.problems")
    file.write_bytes(b"\x00" * file.stat().st_size)
    with pytest.raises(DamagedFileError, match=r"pack-.*delete the file"):
        world.house(world.tasks(split="train", num=1)[0])


def test_flagged_games_are_given_only_if_asked_for(tmp_path: Path) -> None:
    path = str(write_pack(tmp_path / "games.jsonl", games=GAMES))
    plain = AlfworldWorld(data=path).tasks(split="train", num=11)
    every = AlfworldWorld(data=path, include_unsolvable=True).tasks(split="train", num=12)
    (flagged,) = {task.id for task in every} - {task.id for task in plain}
    assert flagged.endswith(GAMES[5]["id"])


def test_agentgyms_lists_are_in_agentgyms_order(tmp_path: Path) -> None:
    world = AlfworldWorld(
        data=str(write_pack(tmp_path / "games.jsonl", games=GAMES)), selection="agentgym"
    )
    assert world.splits == {"train": 12, "test": 6}
    ids = [task.id.split("/", 3)[3] for task in world.tasks(split="train", num=12)]
    assert ids == [game["id"] for game in reversed(GAMES[:12])]
    assert world.tasks(split="test", num=1)[0].id.endswith(GAMES[24]["id"])
    with pytest.raises(ValueError, match="needs data with AgentGym's numbers"):
        AlfworldWorld(
            data=str(write_folder(tmp_path / "folder", games=GAMES)), selection="agentgym"
        )


def test_families_can_be_chosen(tmp_path: Path) -> None:
    path = str(write_pack(tmp_path / "games.jsonl", games=GAMES))
    world = AlfworldWorld(data=path, families=["heat", "cool"])
    assert {task.family for task in world.tasks(split="valid_seen", num=2)} == {"heat", "cool"}
    assert world.splits["valid_seen"] == 2


def test_a_download_without_game_files_is_read_from_its_problems(tmp_path: Path) -> None:
    bare = write_folder(tmp_path / "bare", games=GAMES, with_game_files=False)
    whole = AlfworldWorld(data=str(write_folder(tmp_path / "whole", games=GAMES)))
    world = AlfworldWorld(data=str(bare), include_unsolvable=True)
    assert world.splits["train"] == 12  # nothing in these files flags a game
    tasks = whole.tasks(split="train", num=11)
    for task in tasks:
        ours, theirs = world.house(task), whole.house(task)
        assert ours.content_key() == theirs.content_key()
        assert ours.goal.text  # put into words here


def test_a_trial_that_is_not_there_in_full_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_folder(tmp_path, games=GAMES)
    (path / "json_2.1.1" / "train" / GAMES[0]["id"] / "game.tw-pddl").unlink()
    with caplog.at_level(logging.INFO):
        assert AlfworldWorld(data=str(path)).splits["train"] == 10
    assert "1 trials of 12 have no game.tw-pddl" in caplog.text


def test_trials_with_movable_receptacles_or_slices_are_no_games(tmp_path: Path) -> None:
    path = write_folder(tmp_path, games=GAMES)
    for name in ("pick_and_place_with_movable_recep-Pen-Bowl-Shelf-1", "x-AppleSliced-None-y-2"):
        (path / "json_2.1.1" / "train" / name / "trial").mkdir(parents=True)
        (path / "json_2.1.1" / "train" / name / "trial" / "game.tw-pddl").write_text("{")
    assert AlfworldWorld(data=str(path)).splits["train"] == 11


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not whole JSON"),
        ("{", "not whole JSON"),
        ("[" * 100_000, "not whole JSON"),
        ("[]", "no JSON object"),
        ("{}", "no `pddl_problem`"),
        ('{"pddl_problem": 3}', "no `pddl_problem`"),
        (b"\xff\xfe\x00", "is not text"),
    ],
)
def test_a_broken_game_file_is_named_with_a_remedy(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    path = write_folder(tmp_path, games=GAMES)
    file = path / "json_2.1.1" / "train" / GAMES[3]["id"] / "game.tw-pddl"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DamagedFileError, match=message) as raised:
        _ = AlfworldWorld(data=str(path)).splits
    assert str(file) in str(raised.value) and "alfworld-download" in str(raised.value)


def test_a_problem_that_is_cut_off_is_named_when_it_is_played(tmp_path: Path) -> None:
    path = write_folder(tmp_path, games=GAMES, with_game_files=False)
    for file in path.rglob("initial_state.pddl"):
        file.write_text(file.read_text()[:2000])
    world = AlfworldWorld(data=str(path))
    task = world.tasks(split="train", num=1)[0]
    with pytest.raises(DamagedFileError, match="cannot be played: the problem is cut off"):
        world.house(task)


def test_a_file_that_changes_under_the_world_is_noticed(tmp_path: Path) -> None:
    path = write_folder(tmp_path, games=GAMES, with_game_files=False)
    world = AlfworldWorld(data=str(path))
    task = world.tasks(split="train", num=1)[0]
    for file in path.rglob("initial_state.pddl"):
        file.write_text(GAMES[-1]["problem"])
    with pytest.raises(DamagedFileError, match="no longer the game that was listed"):
        world.house(task)
    with pytest.raises(ValueError, match=r"same game in two splits|was made from other data"):
        AlfworldWorld(data=str(path)).house(task)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 7}, "line 2 has no text 'id'"),
        ({"id": "somewhere"}, "line 2: id 'somewhere' is not TASK/TRIAL"),
        ({"id": GAMES[0]["id"]}, "line 2: game .* is also in line 1"),
        ({"split": "dev"}, "split must be one of"),
        ({"problem": ""}, "line 2 has no text 'problem'"),
        ({"agentgym_test": "7"}, "agentgym_test must be a number or null"),
    ],
)
def test_a_broken_line_of_a_pack_is_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    games = [GAMES[0], GAMES[1] | change]
    path = write_pack(tmp_path / "games.jsonl", games=games)
    with pytest.raises(DamagedFileError, match=message) as raised:
        AlfworldWorld(data=str(path))
    assert str(path) in str(raised.value)


def test_a_pack_that_is_cut_off_is_refused_wherever_the_cut_is(
    tmp_path: Path, own_cache: Path
) -> None:
    for name in ("games.jsonl", "games.jsonl.xz"):
        whole = write_pack(tmp_path / name, games=GAMES[:4]).read_bytes()
        for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.99):
            path = tmp_path / f"cut-{name}"
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(DamagedFileError, match="restore it from its source") as raised:
                AlfworldWorld(data=str(path))
            assert str(path) in str(raised.value)
    assert not list(own_cache.iterdir()), "what failed must leave nothing in the cache"


def test_a_game_in_two_splits_is_refused(tmp_path: Path) -> None:
    again = row(3, split="valid_seen")
    again["id"] = again["id"].replace("trial_", "trial_again_")
    again["problem"] = again["problem"].replace("plan_trial_3", "another_name") + "\n"
    world = AlfworldWorld(data=str(write_pack(tmp_path / "g.jsonl", games=[*GAMES, again])))
    with pytest.raises(ValueError, match="the same game in two splits") as raised:
        _ = world.splits
    assert GAMES[3]["id"] in str(raised.value) and again["id"] in str(raised.value)


def test_data_that_are_not_there_say_where_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="alfworld-download"):
        AlfworldWorld(data=str(tmp_path / "nowhere"))
    with pytest.raises(DamagedFileError, match="none of the folders"):
        AlfworldWorld(data=str(tmp_path))
    (tmp_path / "train").mkdir()
    with pytest.raises(DamagedFileError, match="the download is not complete"):
        _ = AlfworldWorld(data=str(tmp_path)).splits
    monkeypatch.setenv("ALFWORLD_DATA", str(write_folder(tmp_path / "data", games=GAMES)))
    assert AlfworldWorld().splits["valid_seen"] == 6


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        ('"rhs": "Your task is to: put a mug in shelf."', "put a mug in shelf"),
        ('"rhs":"Your task is to: say \\"hi\\" twice. "', 'say "hi" twice'),
        ('"rhs": "You are here."', ""),
        ('"rhs": "Your task is to: never ends', ""),
    ],
)
def test_the_tasks_words_are_those_of_the_grammar(grammar: str, words: str) -> None:
    assert stated_task(json.dumps({"a": 1}) + grammar) == words
