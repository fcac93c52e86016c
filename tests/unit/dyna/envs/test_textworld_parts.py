"""What of the TextWorld room needs no TextWorld: settings, splits, text, content, the cache."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.envs.textworld.challenges import (
    CHALLENGES,
    NUM_BUCKETS,
    bucket_of,
    complete_settings,
    find_challenge,
)
from dyna.envs.textworld.content import content_key
from dyna.envs.textworld.store import GameMakingError, GameRequest, GameStore
from dyna.envs.textworld.text import (
    MAX_COMMAND,
    room_of,
    screen,
    status_line,
    tidy,
    was_carried_out,
)


def test_importing_the_rooms_imports_neither_package() -> None:
    code = (
        "import sys, dyna.envs.textworld, dyna.envs.textworld_express;"
        "assert not {'textworld', 'jericho', 'textworld_express', 'py4j'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_are_completed_with_the_challenges_own() -> None:
    assert complete_settings("tw-simple", settings={"goal": "brief"}) == {
        "rewards": "dense",
        "goal": "brief",
    }


@pytest.mark.parametrize(
    ("challenge", "given_settings", "says"),
    [
        ("tw-simple", {"level": 3}, "settings.level is not a setting of tw-simple"),
        ("tw-simple", {"goal": "long"}, "settings.goal must be one of detailed, brief, none"),
        ("tw-coin_collector", {"level": 0}, r"settings.level must be in 1..300, got 0"),
        ("tw-treasure_hunter", {"level": 31}, r"settings.level must be in 1..30, got 31"),
        ("tw-cooking", {"go": 2}, "settings.go must be one of 1, 6, 9, 12"),
        ("tw-cooking", {"recipe": 1, "take": 2}, r"settings.take must be <= recipe \(1\), got 2"),
        ("custom", {"theme": "space"}, "settings.theme must be one of house, basic"),
        ("tw-chess", {}, "challenge must be one of tw-simple"),
    ],
)
def test_wrong_settings_are_named(
    challenge: str, given_settings: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        complete_settings(challenge, settings=given_settings)


def test_settings_of_another_type_are_refused() -> None:
    for value in (True, "5", 5.0, None):
        with pytest.raises(TypeError, match=r"settings.level must be a int"):
            complete_settings("tw-coin_collector", settings={"level": value})


def test_splits_by_content_share_no_bucket() -> None:
    for name in ("tw-coin_collector", "tw-treasure_hunter", "custom", "tw-simple"):
        splits = {k: v for k, v in find_challenge(name).splits.items() if k != "unseen"}
        owned = [bucket for split in splits.values() for bucket in split.buckets]
        assert sorted(owned) == list(range(NUM_BUCKETS)), name
    for challenge in CHALLENGES.values():
        assert "train" in challenge.splits
    cooking = find_challenge("tw-cooking").splits
    assert {split.settings["split"] for split in cooking.values()} == {"train", "valid", "test"}


def test_every_bucket_gets_games() -> None:
    buckets = {bucket_of(f"{number:08x}" + "0" * 24) for number in range(64)}
    assert buckets == set(range(NUM_BUCKETS))


def _game(*, key_in: str = "c_0", names: tuple[str, str] = ("trunk", "drawer")) -> dict[str, Any]:
    def fact(name: str, *things: str) -> dict[str, object]:
        return {"name": name, "arguments": [{"name": t, "type": t[0]} for t in things]}

    won = {"condition": {"preconditions": [fact("in", "k_0", "I")]}}
    return {
        "world": [fact("in", "k_0", key_in), fact("at", "P", "r_0")],
        "infos": [
            ["c_0", {"name": names[0], "desc": "It is old."}],
            ["c_1", {"name": names[1]}],
            ["k_0", {"name": "old key"}],
            ["r_0", {"name": "bedroom"}],
        ],
        "quests": [{"win_events": [won], "fail_events": [], "reward": 1}],
    }


def test_content_is_what_is_where_and_not_how_it_is_told() -> None:
    plain = content_key(_game())
    reordered = _game()
    reordered["world"] = list(reversed(reordered["world"]))
    reordered["infos"][0][1]["desc"] = "It is new."
    assert content_key(reordered) == plain
    assert content_key(_game(key_in="c_1")) != plain
    assert content_key(_game(names=("box", "drawer"))) != plain
    # The same game whose things were numbered the other way round.
    assert content_key(_game(key_in="c_1", names=("drawer", "trunk"))) == plain


def test_text_is_tidied_in_one_way() -> None:
    won = (
        "You put the milk on the stove.\n\n\n\nYour score has just gone up by one point.\n\n\n"
        "            *** The End ***\n\nYou scored 8 out of a possible 8, in 10 turns.\n\n\n"
        "Would you like to RESTART, RESTORE a saved game, QUIT or UNDO the last command?"
    )
    assert tidy(won) == (
        "You put the milk on the stove.\n\nYour score has just gone up by one point.\n\n"
        "*** The End ***\n\nYou scored 8 out of a possible 8, in 10 turns."
    )


def test_the_upper_window_never_gets_into_the_text() -> None:
    told = "You open the chest drawer.\n"
    window = "\n>" + " " * 120 + "-= Bedroom =-1/2\n"
    assert tidy(told + window) == tidy(told) == "You open the chest drawer."
    look = "-= Bedroom =-\nYou see a bed.\n"
    assert tidy(look) == "-= Bedroom =-\nYou see a bed."


def test_the_banner_is_left_out_unless_asked_for() -> None:
    art = "\n ________  ________ \n|        \\|        \\\n \\$$$$$$ $$ \\$$\n  \\$$  \\$$  \\$$\n"
    text = art + "\nWelcome! Take the coin.\n\n-= Pantry =-\nA pantry. It costs $5 | or so.\n"
    assert tidy(text, banner=False) == (
        "Welcome! Take the coin.\n\n-= Pantry =-\nA pantry. It costs $5 | or so."
    )
    assert tidy(text).startswith(" ________")


def test_the_room_is_the_last_one_named() -> None:
    assert room_of("You go.\n\n-= Living Room =-\nA room.") == "Living Room"
    assert room_of("That's not a verb I recognise.") == ""
    assert status_line("Kitchen", score=4, turn=9) == "-= Kitchen =-4/9"


def test_only_the_games_own_trace_says_that_something_was_done() -> None:
    assert was_carried_out("[taking the coin]\nTaken.\n[taking the coin - succeeded]\n")
    assert not was_carried_out("[going north]\nYou can't go that way.\n[going north - failed]\n")
    assert not was_carried_out("That's not a verb I recognise.")


@pytest.mark.parametrize(
    "command",
    ["quit", "Q", "restart", "save", "restore", "undo", "again", "transcript", "script on",
     "tw-trace-actions", "superbrief", "restrict commands", "verify", "  QUIT  "],
)  # fmt: skip
def test_commands_of_the_interpreter_reach_no_game(command: str) -> None:
    assert screen(command) == ("", "That's not a verb I recognise.")


@pytest.mark.parametrize(
    "command",
    ["open door. go east", "look then quit", "bob, look", "look\nquit", "\x00", "look\x00",
     "x" * (MAX_COMMAND + 1), "\u4e2d\u6587", "caf\u00e9", "[looking - succeeded]", "\ud800"],
)  # fmt: skip
def test_more_than_one_plain_sentence_is_not_understood(command: str) -> None:
    assert screen(command) == ("", "I didn't understand that sentence.")


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_what_is_sent_is_one_short_printable_line(command: str) -> None:
    sent, answer = screen(command)
    assert bool(sent) != bool(answer)
    assert len(sent) <= MAX_COMMAND
    assert not sent or (sent.isascii() and sent.isprintable())


def _request(seed: int = 1) -> GameRequest:
    return GameRequest(challenge="tw-simple", settings={}, split="train", buckets=(0,), seed=seed)


def _write_game(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "seed": 1, "content": "ab", "walkthrough": ["look"], "objective": "", "max_score": 1,
        "skipped": [],
    }  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("game.z8", b"\x08" * 5000)
        archive.writestr("game.json", "{}")
        archive.writestr("record.json", json.dumps(record))


def test_a_whole_game_in_the_cache_is_read_without_a_maker(tmp_path: Path) -> None:
    _write_game(tmp_path / "ke" / "key.zip")
    store = GameStore(tmp_path)
    made = store.get("key", request=_request())
    assert made.walkthrough == ("look",)
    story = made.unpack(tmp_path)
    assert story.read_bytes() == b"\x08" * 5000 and (tmp_path / "game.json").exists()
    store.close()
    store.close()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "record"])
def test_a_damaged_game_is_never_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ke" / "key.zip"
    _write_game(path)
    whole = path.read_bytes()
    spoiled = {
        "cut": whole[: len(whole) // 2],
        "flip": whole[:50] + bytes([whole[50] ^ 255]) + whole[51:],
        "empty": b"",
        "other": b"{}" * 100,
        "record": whole,
    }[damage]
    path.write_bytes(spoiled)
    if damage == "record":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in (("game.z8", "a"), ("game.json", "{}"), ("record.json", "[1]")):
                archive.writestr(name, text)
    # A maker that cannot start stands for any that fails: the damaged file must not be returned.
    monkeypatch.setattr(sys, "executable", "/bin/false")
    store = GameStore(tmp_path)
    with pytest.raises(GameMakingError, match="game-making process ended"):
        store.get("key", request=_request())
    assert "is damaged" in caplog.text and "made again" in caplog.text
