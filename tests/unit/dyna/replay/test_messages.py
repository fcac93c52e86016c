"""Episodes as chats: what the form can hold comes back, what it cannot is refused or said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.files import DamagedFileError
from dyna.replay.messages import (
    HIDDEN_TITLE,
    SHOWN_TITLE,
    SUCCESS,
    from_messages,
    read_messages,
    to_messages,
    write_messages,
)
from dyna.samples import sample_trajectories
from dyna.types import (
    Action,
    Outcome,
    Source,
    Start,
    StopReason,
    Task,
    Trajectory,
    Turn,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(
    lambda text: not text.endswith(SUCCESS)
)


@st.composite
def told(draw: st.DrawFn) -> Trajectory:
    """An episode of which a record keeps everything but the task, the stop and the id's origin."""
    pairs = draw(st.lists(st.tuples(TEXT, TEXT), max_size=4))
    won = bool(pairs) and draw(st.booleans())
    turns = [
        Turn(action=Action(command=command), outcome=Outcome(observation=answer))
        for command, answer in pairs
    ]
    if won:
        outcome = replace(
            turns[-1].outcome,
            reward=1.0,
            success=True,
            terminated=True,
            stop=StopReason.TERMINATED,
        )
        turns[-1] = replace(turns[-1], outcome=outcome)
    return Trajectory(
        id=draw(st.text("abc/", min_size=1, max_size=5)),
        task=Task(id="w/f/train/0", world="w", family="f", split="train"),
        start=Start(observation=draw(TEXT), hidden_state=draw(st.none() | TEXT)),
        turns=tuple(turns),
        stop=StopReason.TERMINATED if won else StopReason.STEP_LIMIT,
    )


@settings(max_examples=200, deadline=None)
@given(told())
def test_what_was_said_comes_back(trajectory: Trajectory) -> None:
    record = json.loads(json.dumps(to_messages(trajectory)))
    back = from_messages(record, world="w", split="train", origin="file:1")
    assert (back.id, back.start, back.turns) == (trajectory.id, trajectory.start, trajectory.turns)
    assert back.stop is trajectory.stop and back.source is Source.REAL
    assert (back.behavior, back.task.family) == ("imported", "imported")
    assert back.task.params == {"imported_from": "file:1"}


def test_the_shape_is_the_paper_s() -> None:
    trajectory = Trajectory(
        id="e/1",
        task=Task(id="w/f/train/0", world="w", family="f", split="train"),
        start=Start(observation="You see a bed 1.", hidden_state="On the bed 1 is a book 2."),
        turns=(
            Turn(
                action=Action(command="go to bed 1", text="Thought: rest.\nAction: go to bed 1"),
                outcome=Outcome(
                    observation="You rest.",
                    reward=1.0,
                    terminated=True,
                    success=True,
                    stop=StopReason.TERMINATED,
                ),
            ),
        ),
        stop=StopReason.TERMINATED,
    )
    opening = f"{HIDDEN_TITLE}\nOn the bed 1 is a book 2.\n\n{SHOWN_TITLE}\nYou see a bed 1."
    assert to_messages(trajectory)["messages"] == [
        {"role": "system", "content": opening},
        {"role": "user", "content": "go to bed 1"},
        {"role": "assistant", "content": "You rest. [SUCCESS]"},
    ]
    shown = to_messages(trajectory, hidden_state=False)["messages"][0]["content"]
    assert shown == "You see a bed 1."


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_file_holds_all_in_order_and_ids_stay_apart(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"chats{suffix}"
    episodes = sample_trajectories()
    assert write_messages(path, [*episodes, episodes[0]]) == len(episodes) + 1
    back = list(read_messages(path, world="household", split="valid"))
    assert [t.id for t in back] == [*(t.id for t in episodes), f"{episodes[0].id}#2"]
    for mine, theirs in zip(episodes, back, strict=False):
        assert [t.action.command for t in mine.turns] == [t.action.command for t in theirs.turns]
        assert [t.outcome.observation for t in mine.turns] == [
            t.outcome.observation for t in theirs.turns
        ]
        assert theirs.success == mine.success and theirs.task.split == "valid"
    assert back[0].task.id == back[-1].task.id, "equal games have equal ids"


def test_another_s_record_is_read_with_its_blanks_trimmed_and_its_open_end_cut() -> None:
    opening = f"{HIDDEN_TITLE}\n\nSecret.\n{SHOWN_TITLE}\n\nYou see.\n"
    messages = [
        {"role": "system", "content": opening},
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": "You look."},
        {"role": "user", "content": "unanswered"},
    ]
    back = from_messages({"id": 7, "messages": messages}, world="w", split="train", origin="f:1")
    assert back.start == Start(observation="You see.", hidden_state="Secret.")
    assert (back.id, len(back.turns), back.stop) == ("7", 1, StopReason.STEP_LIMIT)


@pytest.mark.parametrize(
    "change",
    [
        {"source": Source.IMAGINED},
        {"stop": StopReason.ENV_ERROR},
        {"start": Start(observation=f"{SHOWN_TITLE} again")},
    ],
)
def test_what_a_record_cannot_tell_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    trajectory = replace(sample_trajectories()[0], **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=trajectory.id):
        write_messages(tmp_path / "chats.jsonl", [trajectory])
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_looks_like_success_is_refused() -> None:
    trajectory = sample_trajectories()[0]
    turn = trajectory.turns[0]
    outcome = replace(turn.outcome, observation=f"Ha!{SUCCESS}")
    cheating = replace(trajectory, turns=(replace(turn, outcome=outcome),))
    with pytest.raises(ValueError, match="would be read as a success"):
        to_messages(cheating)


SYSTEM = {"role": "system", "content": "You see."}
USER = {"role": "user", "content": "look"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.json", '[{"messages": [', "is not whole JSON"),
        ("cut.jsonl", '{"messages": [{"role"', "line 1 is not whole JSON"),
        ("one.json", '{"messages": []}', "must hold a list of records, or be a .jsonl file"),
        ("text.jsonl", '"hello"', "must be an object with `messages`"),
        ("none.jsonl", "{}", "must hold a list `messages`, got None"),
        ("roles.jsonl", json.dumps({"messages": [USER, USER, USER]}), "must have the role"),
        ("number.json", json.dumps([{"messages": [{**SYSTEM, "content": 3}]}]), "text as content"),
        (
            "early.jsonl",
            json.dumps(
                {
                    "messages": [
                        SYSTEM,
                        USER,
                        {"role": "assistant", "content": "Won. [SUCCESS]"},
                        USER,
                        {"role": "assistant", "content": "On."},
                    ]
                }
            ),
            "turn 0 already ends in",
        ),
        ("bytes.jsonl", "\udcff", "is not whole JSON"),
    ],
)
def test_a_damaged_file_is_named_with_its_record(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedFileError, match=message) as raised:
        list(read_messages(path, world="w"))
    assert name in str(raised.value)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.json or \.jsonl"):
        write_messages(tmp_path / "chats.txt", [])
    with pytest.raises(ValueError, match=r"ends in \.json or \.jsonl"):
        list(read_messages(tmp_path / "chats.txt", world="w"))
