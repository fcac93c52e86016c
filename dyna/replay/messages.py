"""Trajectories as chats, in the form in which the field shares data for text world models.

One record is `{"messages": [...]}`: `system` holds the first observation, after the world's hidden
state where there is one; every `user` message is a command, every `assistant` message the world's
answer, with " [SUCCESS]" at its end where the task was done by it. The form is that of the data of
"From Word to World: Can LLMs be Implicit Text-based World Models?" (arXiv 2512.18832). A `.json`
file is a list of records, a `.jsonl` file has one to a line.

It keeps what was said and no more. What comes back from it has no task but its first observation,
no thoughts, tokens or lists of commands, `valid=None`, reward 1 for success and 0 otherwise, and
ends terminated where it was won and at a step limit where not, for the form does not say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

from dyna.files import DamagedFileError, replacing
from dyna.types import Action, Outcome, Source, Start, StopReason, Task, Trajectory, Turn

HIDDEN_TITLE = "# Environment Information (Only visible to Assistant)"
SHOWN_TITLE = "# User Environment Information (Displayed to User)"
SUCCESS = " [SUCCESS]"
SUFFIXES = (".json", ".jsonl")
IMPORTED = "imported"
"""The behavior, and the family of the tasks, of what was read from a file of messages."""


class MessageFileError(DamagedFileError):
    """A file that was to hold chats does not, or not whole."""


def to_messages(trajectory: Trajectory, *, hidden_state: bool = True) -> dict[str, Any]:
    """One record: `{"id": ..., "messages": [...]}`.

    Example: one won turn gives `[system, {"role": "user", "content": "go left"}, {"role":
    "assistant", "content": "You are outside. [SUCCESS]"}]`. Raises `ValueError` for an episode
    that is not real or that failed, which a record cannot say of itself, and for text that would
    be read as another part of the record.
    """
    if trajectory.source is not Source.REAL or trajectory.stop.is_failure:
        raise ValueError(
            f"episode {trajectory.id!r} is {trajectory.source.value} and ended "
            f"{trajectory.stop.value}; messages can tell only real episodes that did not fail"
        )
    messages = [{"role": "system", "content": _opening(trajectory, hidden_state=hidden_state)}]
    for turn in trajectory.turns:
        answer = turn.outcome.observation
        if answer.endswith(SUCCESS):
            raise ValueError(
                f"episode {trajectory.id!r} has an answer that itself ends in {SUCCESS!r}; it "
                "would be read as a success"
            )
        messages.append({"role": "user", "content": turn.action.command})
        messages.append({"role": "assistant", "content": answer + SUCCESS * turn.outcome.success})
    return {"id": trajectory.id, "messages": messages}


def from_messages(record: Mapping[str, Any], *, world: str, split: str, origin: str) -> Trajectory:
    """The episode that a record tells of; what is lost is said at the top of this module.

    `origin` names the record, as `file.jsonl:17`; it becomes part of the ids and `task.params`.
    The task is named by the content of the first message, so that equal games have equal ids.
    Raises `MessageFileError` for a record of another form.
    """
    contents = list(_contents(record, origin=origin))
    opening, rest = contents[0], contents[1:]
    hidden, shown = _split_opening(opening)
    turns = tuple(
        _turn(command, answer=answer) for command, answer in zip(rest[::2], rest[1::2], strict=True)
    )
    early = next((i for i, turn in enumerate(turns[:-1]) if turn.outcome.success), None)
    if early is not None:
        raise MessageFileError(
            f"{origin}: turn {early} already ends in {SUCCESS!r}, yet {len(turns) - early - 1} "
            "more follow; cut the record there"
        )
    key = blake2b(opening.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
    won = bool(turns) and turns[-1].outcome.success
    return Trajectory(
        id=str(record.get("id") or origin),
        task=Task(
            id=f"{world}/{IMPORTED}/{split}/{key}",
            world=world,
            family=IMPORTED,
            split=split,
            params={"imported_from": origin},
        ),
        start=Start(observation=shown, hidden_state=hidden),
        turns=turns,
        stop=StopReason.TERMINATED if won else StopReason.STEP_LIMIT,
        behavior=IMPORTED,
    )


def write_messages(
    path: str | Path, trajectories: Iterable[Trajectory], *, hidden_state: bool = True
) -> int:
    """Write a `.json` or `.jsonl` file, whole or not at all; returns the number of records.

    Raises `ValueError` for another suffix and as `to_messages` does.
    """
    path = Path(path)
    as_lines = _is_lines(path)
    num = 0
    with replacing(path) as draft, draft.open("w", encoding="utf-8", newline="\n") as file:
        file.write("" if as_lines else "[")
        for trajectory in trajectories:
            record = to_messages(trajectory, hidden_state=hidden_state)
            try:
                text = json.dumps(record, ensure_ascii=False)
                text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"episode {trajectory.id!r} holds text that is no valid Unicode "
                    f"({error.reason}); decode model output with errors='replace'"
                ) from error
            separator = "" if as_lines else ",\n" if num else "\n"
            file.write(f"{separator}{text}" + ("\n" if as_lines else ""))
            num += 1
        file.write("" if as_lines else "\n]\n")
    return num


def read_messages(path: str | Path, *, world: str, split: str = "train") -> Iterator[Trajectory]:
    """The episodes of a file of messages, ours or another's, in order.

    Ids that occur twice get `#2`, `#3`, ... so that each is one episode. Raises
    `FileNotFoundError`, `ValueError` for another suffix, and `MessageFileError` naming the record.
    """
    path = Path(path)
    records = _lines(path) if _is_lines(path) else _listed(path)
    seen: dict[str, int] = {}
    for origin, record in records:
        trajectory = from_messages(record, world=world, split=split, origin=origin)
        count = seen[trajectory.id] = seen.get(trajectory.id, 0) + 1
        if count > 1:
            trajectory = replace(trajectory, id=f"{trajectory.id}#{count}")
        yield trajectory


def _opening(trajectory: Trajectory, *, hidden_state: bool) -> str:
    shown, hidden = trajectory.start.observation, trajectory.start.hidden_state
    if SHOWN_TITLE in shown or HIDDEN_TITLE in shown or SHOWN_TITLE in (hidden or ""):
        raise ValueError(
            f"episode {trajectory.id!r} has a first observation or hidden state that holds the "
            f"title {SHOWN_TITLE!r}; it cannot be told apart in one message"
        )
    if hidden is None or not hidden_state:
        return shown
    return f"{HIDDEN_TITLE}\n{hidden}\n\n{SHOWN_TITLE}\n{shown}"


def _split_opening(opening: str) -> tuple[str | None, str]:
    """Hidden state and first observation; the blank lines around the titles belong to neither."""
    head, title, shown = opening.partition(SHOWN_TITLE)
    if not title or HIDDEN_TITLE not in head:
        return None, opening
    hidden = head.partition(HIDDEN_TITLE)[2]
    if hidden.startswith("\n") and hidden.endswith("\n\n") and shown.startswith("\n"):
        return hidden[1:-2], shown[1:]  # as written here, to the last blank
    return hidden.strip(), shown.strip()


def _turn(command: str, *, answer: str) -> Turn:
    won = answer.endswith(SUCCESS)
    return Turn(
        action=Action(command=command),
        outcome=Outcome(
            observation=answer.removesuffix(SUCCESS),
            reward=float(won),
            terminated=won,
            success=won,
            stop=StopReason.TERMINATED if won else None,
        ),
    )


def _contents(record: Mapping[str, Any], *, origin: str) -> Iterator[str]:
    """The texts of system, user, assistant, user, assistant, ...; an open end is cut."""
    messages: Any = record.get("messages")
    if not isinstance(messages, list) or not messages:
        raise MessageFileError(f"{origin}: a record must hold a list `messages`, got {messages!r}")
    listed = cast(list[Any], messages)
    whole = listed[: len(listed) - (len(listed) + 1) % 2]
    for index, message in enumerate(whole):
        role = "system" if index == 0 else ("assistant", "user")[index % 2]
        given: dict[str, Any] = {}
        if isinstance(message, dict):
            given = cast(dict[str, Any], message)
        if given.get("role") != role or not isinstance(given.get("content"), str):
            raise MessageFileError(
                f"{origin}: message {index} must have the role {role!r} and text as content, got "
                f"{str(cast(object, message))[:80]!r}"
            )
        yield given["content"]


def _is_lines(path: Path) -> bool:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a file of messages ends in .json or .jsonl, got {path}")
    return path.suffix == ".jsonl"


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path.name}:{number}", _record(line, origin=f"{path}, line {number}")


def _listed(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    records = _parsed(path.read_bytes(), origin=str(path))
    if not isinstance(records, list):
        raise MessageFileError(f"{path} must hold a list of records, or be a .jsonl file")
    for number, record in enumerate(cast(list[Any], records), start=1):
        if not isinstance(record, dict):
            raise MessageFileError(f"{path}, record {number} must be an object with `messages`")
        yield f"{path.name}:{number}", cast(dict[str, Any], record)


def _record(line: bytes, *, origin: str) -> Mapping[str, Any]:
    record = _parsed(line, origin=origin)
    if not isinstance(record, dict):
        raise MessageFileError(f"{origin} must be an object with `messages`")
    return cast(dict[str, Any], record)


def _parsed(text: bytes, *, origin: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageFileError(
            f"{origin} is not whole JSON ({error}); it was cut off or damaged: restore it from a "
            "copy"
        ) from error


__all__ = [
    "HIDDEN_TITLE",
    "IMPORTED",
    "SHOWN_TITLE",
    "SUCCESS",
    "MessageFileError",
    "from_messages",
    "read_messages",
    "to_messages",
    "write_messages",
]
