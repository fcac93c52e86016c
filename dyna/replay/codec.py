"""A trajectory as one compact string of bytes, and back, equal in every field.

Python objects of a turn weigh kilobytes; its text and numbers weigh a few hundred bytes. Texts go
to JSON, numbers to flat machine arrays, and both through zlib, which thrives on the lists of
commands that hardly change from turn to turn. The bytes live in memory only: files are Parquet.
"""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from dyna.types import Action, Outcome, Source, Start, StopReason, Task, Trajectory, Turn

_SIZES = struct.Struct("<II")  # bytes of JSON, bytes of integers; the rest is floats
_FAST = 1


def encode(trajectory: Trajectory) -> bytes:
    """Raises `ValueError` for a value that could not come back equal.

    That is: task parameters that are no JSON, text that is no Unicode (lone surrogates), and
    integers beyond 64 bits.
    """
    turns = trajectory.turns
    table: dict[str, int] = {}
    document = [
        _about(trajectory),
        _about_task(trajectory.task),
        [
            trajectory.start.observation,
            trajectory.start.hidden_state,
            _indices(trajectory.start.admissible, table=table),
        ],
        [_about_action(turn.action) for turn in turns],
        [_about_outcome(turn.outcome, table=table) for turn in turns],
        list(table),
    ]
    try:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        integers = array("q", _scalars(trajectory))
        for turn in turns:
            integers.append(turn.action.policy_version)
            integers.extend(turn.action.token_ids)
            integers.extend(turn.outcome.token_ids)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"trajectory {trajectory.id!r} holds text that is no valid Unicode ({error.reason} at "
            f"{error.object[error.start : error.end]!r}); decode model output with errors='replace'"
        ) from error
    except OverflowError as error:
        raise ValueError(
            f"trajectory {trajectory.id!r} holds an integer beyond 64 bits; seeds, versions, "
            "rounds and token ids must lie in [-2**63, 2**63)"
        ) from error
    floats = array("d")
    for turn in turns:
        floats.extend(turn.action.log_probs)
        floats.append(turn.outcome.reward)
        floats.append(turn.outcome.confidence)
    head = _SIZES.pack(len(text), 8 * len(integers))
    return zlib.compress(b"".join((head, text, integers.tobytes(), floats.tobytes())), _FAST)


def decode(blob: bytes) -> Trajectory:
    raw = zlib.decompress(blob)
    text_size, integer_size = _SIZES.unpack_from(raw)
    text_end = _SIZES.size + text_size
    about, task, start, actions, outcomes, words = json.loads(raw[_SIZES.size : text_end])
    integers, floats = array("q"), array("d")
    integers.frombytes(raw[text_end : text_end + integer_size])
    floats.frombytes(raw[text_end + integer_size :])
    whole, real = iter(integers), iter(floats)
    seed, branch_point, policy_version, round_, model_version = islice(whole, 5)
    identifier, stop, source, has_model, group_id, behavior, error = about
    world_task = Task(
        id=task[0], world=task[1], family=task[2], split=task[3], seed=seed, params=task[4]
    )
    turns = tuple(
        Turn(
            action=_action(action, whole=whole, real=real),
            outcome=_outcome(outcome, words=words, whole=whole, real=real),
        )
        for action, outcome in zip(actions, outcomes, strict=True)
    )
    return Trajectory(
        id=identifier,
        task=world_task,
        start=Start(
            observation=start[0], hidden_state=start[1], admissible=_listed(start[2], words=words)
        ),
        turns=turns,
        stop=StopReason(stop),
        source=Source(source),
        branch_point=branch_point,
        policy_version=policy_version,
        model_version=model_version if has_model else None,
        round=round_,
        group_id=group_id,
        behavior=behavior,
        error=error,
    )


def write_params(task: Task) -> str:
    """A task's parameters as JSON; raises `ValueError` if they would not come back equal."""
    params = dict(task.params)
    try:
        text = json.dumps(params, allow_nan=False)
        survives = json.loads(text) == params
    except (TypeError, ValueError):
        text, survives = "", False
    if not survives:
        raise ValueError(
            f"task {task.id!r} has params {params!r}, which do not survive JSON; use strings, "
            "finite numbers, booleans, None, lists, and dicts with string keys"
        )
    return text


def _about(trajectory: Trajectory) -> list[Any]:
    return [
        trajectory.id,
        trajectory.stop,
        trajectory.source,
        trajectory.model_version is not None,
        trajectory.group_id,
        trajectory.behavior,
        trajectory.error,
    ]


def _scalars(trajectory: Trajectory) -> tuple[int, ...]:
    return (
        trajectory.task.seed,
        trajectory.branch_point,
        trajectory.policy_version,
        trajectory.round,
        trajectory.model_version or 0,
    )


def _about_task(task: Task) -> list[Any]:
    params: Mapping[str, Any] = json.loads(write_params(task)) if task.params else {}
    return [task.id, task.world, task.family, task.split, params]


def _about_action(action: Action) -> list[Any]:
    return [
        action.command,
        action.text,
        len(action.token_ids),
        len(action.log_probs),
    ]


def _action(about: list[Any], *, whole: Iterator[int], real: Iterator[float]) -> Action:
    command, text, num_tokens, num_log_probs = about
    return Action(
        policy_version=next(whole),
        command=command,
        text=text,
        token_ids=tuple(islice(whole, num_tokens)),
        log_probs=tuple(islice(real, num_log_probs)),
    )


def _about_outcome(outcome: Outcome, *, table: dict[str, int]) -> list[Any]:
    return [
        outcome.observation,
        outcome.terminated,
        outcome.success,
        outcome.stop,
        outcome.valid,
        _indices(outcome.admissible, table=table),
        len(outcome.token_ids),
    ]


def _outcome(
    about: list[Any], *, words: list[str], whole: Iterator[int], real: Iterator[float]
) -> Outcome:
    observation, terminated, success, stop, valid, admissible, num_tokens = about
    return Outcome(
        observation=observation,
        reward=next(real),
        terminated=terminated,
        success=success,
        stop=None if stop is None else StopReason(stop),
        valid=valid,
        admissible=_listed(admissible, words=words),
        confidence=next(real),
        token_ids=tuple(islice(whole, num_tokens)),
    )


def _indices(commands: tuple[str, ...] | None, *, table: dict[str, int]) -> list[int] | None:
    if commands is None:
        return None
    return [table.setdefault(command, len(table)) for command in commands]


def _listed(indices: list[int] | None, *, words: list[str]) -> tuple[str, ...] | None:
    return None if indices is None else tuple([words[index] for index in indices])
