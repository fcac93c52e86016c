"""The seam of replay buffers: what is kept is real, within its room, and comes back as it was.

What a buffer does not offer (experiences, scores, sketches, stored predictions, a save) is not
asked of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Protocol, runtime_checkable

from dyna.protocols import (
    HasExperiences,
    HasGradients,
    HasScores,
    HasTargets,
    ReplayBuffer,
    Stateful,
)
from dyna.samples import sample_trajectories
from dyna.testing.requirements import is_a, must_refuse, name_of, require
from dyna.types import SoftTargets, Source, StopReason, Trajectory

_NUM_EPISODES = 60
"""Offered at least; more where the room takes more."""


@runtime_checkable
class _Weighed(Protocol):
    """A buffer that says what it weighs."""

    @property
    def num_bytes(self) -> int: ...


def check_replay_buffer(
    make: Callable[[], ReplayBuffer],
    *,
    max_transitions: int | None = None,
    max_bytes: int | None = None,
) -> None:
    """A buffer keeps real episodes only, gives back what it was given, and repeats itself.

    `make` makes it anew, each time with the same seed. With `max_transitions`, and `max_bytes` for
    one that has `num_bytes`, that `make` gives it, neither may ever be exceeded; small ones make a
    quick check. One that can be saved must go on, once loaded, as if nothing had happened.
    """
    require(is_a(make(), ReplayBuffer), f"{name_of(make())} needs `add`, `sample`, `__len__`")
    _check_sampling(make())
    _check_refusals(make(), max_transitions=max_transitions)
    num = max(_NUM_EPISODES, max_transitions or 0)
    episodes = _episodes(num, longest=min(9, max_transitions or 9))
    _check_room(make(), episodes, max_transitions=max_transitions, max_bytes=max_bytes)
    _check_repeats(make, episodes)
    if isinstance(make(), Stateful):
        _check_restores(make, episodes)
    _check_notes(make())


def _check_sampling(buffer: ReplayBuffer) -> None:
    require(len(buffer) == 0, f"a new buffer must be empty, its length is {len(buffer)}")
    stored = {t.id: t for t in sample_trajectories()}
    for trajectory in stored.values():
        buffer.add(trajectory)
    num_turns = sum(len(t.turns) for t in stored.values())
    require(0 < len(buffer) <= num_turns, f"len() counts turns: {len(buffer)} of {num_turns}")
    require(buffer.sample(0) == [], "sample(0) must give nothing")
    for wanted in (1, num_turns, 5 * num_turns):
        sampled = buffer.sample(wanted)
        got = sum(len(t.turns) for t in sampled)
        require(got >= wanted, f"sample({wanted}) must give at least as many turns, got {got}")
        require(
            all(stored.get(t.id) == t for t in sampled),
            "a sampled trajectory must equal the stored one in every field",
        )
    require(len(buffer) <= num_turns, "sampling must not change what is held")


def _check_refusals(buffer: ReplayBuffer, *, max_transitions: int | None) -> None:
    real = sample_trajectories()[0]
    must_refuse(
        lambda: buffer.add(replace(real, id="dream", source=Source.IMAGINED)),
        "add must raise ValueError for imagined episodes: it feeds models",
    )
    must_refuse(
        lambda: buffer.add(replace(real, id="broken", stop=StopReason.ENV_ERROR)),
        "add must raise ValueError for failed episodes: they are counted, never learned from",
    )
    if max_transitions is not None:
        turns = (real.turns[0],) * (max_transitions + 1)
        must_refuse(
            lambda: buffer.add(replace(real, id="too long", turns=turns)),
            f"add must raise ValueError for an episode of more than {max_transitions} turns: all "
            "others would have to leave for it, and it would not fit even so",
        )
    require(len(buffer) == 0, "what is refused must not be kept")


def _check_room(
    buffer: ReplayBuffer,
    episodes: Sequence[Trajectory],
    *,
    max_transitions: int | None,
    max_bytes: int | None,
) -> None:
    offered: dict[str, Trajectory] = {}
    for number, episode in enumerate(episodes):
        offered[episode.id] = episode
        _feed(buffer, number=number, episode=episode)
        if max_transitions is not None:
            require(
                len(buffer) <= max_transitions,
                f"{len(buffer)} turns are held after {number + 1} episodes, over the "
                f"{max_transitions} of max_transitions",
            )
        if max_bytes is not None and isinstance(buffer, _Weighed):
            require(
                buffer.num_bytes <= max_bytes,
                f"{buffer.num_bytes} bytes are held after {number + 1} episodes, over the "
                f"{max_bytes} of max_bytes",
            )
        if number % 10 == 0:
            require(
                len(buffer) > 0 and all(offered.get(t.id) == t for t in buffer.sample(20)),
                "what is sampled must be what was stored, however much was forgotten",
            )


def _check_repeats(make: Callable[[], ReplayBuffer], episodes: Sequence[Trajectory]) -> None:
    told = [_told(make(), episodes) for _ in range(2)]
    require(
        told[0] == told[1],
        "the same episodes must give the same samples: take all randomness from the seed",
    )


def _check_restores(make: Callable[[], ReplayBuffer], episodes: Sequence[Trajectory]) -> None:
    half = len(episodes) // 2
    buffer, restored = make(), make()
    _told(buffer, episodes[:half])
    with TemporaryDirectory() as folder:
        for part, call in ((buffer, "save"), (restored, "load")):
            if isinstance(part, Stateful):
                part.save(folder) if call == "save" else part.load(folder)
    require(
        len(restored) == len(buffer),
        f"{len(restored)} turns came back from disk, {len(buffer)} were saved",
    )
    goes_on, expected = (_told(each, episodes[half:], first=half) for each in (restored, buffer))
    require(
        goes_on == expected,
        "a buffer that was saved and loaded must go on as if nothing had happened: the same "
        "samples after the same episodes",
    )


def _check_notes(buffer: ReplayBuffer) -> None:
    (episode, *_) = _episodes(1, longest=1)
    if isinstance(buffer, HasExperiences):
        buffer.begin_experience("first")
    buffer.add(episode)
    if isinstance(buffer, HasExperiences):
        buffer.begin_experience("second")
    if isinstance(buffer, HasScores):
        buffer.note_scores({"not held": 1.0, episode.id: 0.5})
        scored = buffer
        must_refuse(
            lambda: scored.note_scores({episode.id: math.nan}),
            "note_scores must raise ValueError for a loss that is no number",
        )
    if isinstance(buffer, HasGradients):
        gradients, size = buffer, buffer.sketch_size
        buffer.note_gradients({"not held": (1.0,) * size, episode.id: (1.0,) * size})
        must_refuse(
            lambda: gradients.note_gradients({episode.id: (1.0,) * (size + 1)}),
            "note_gradients must raise ValueError for a sketch of another size",
        )
    if isinstance(buffer, HasTargets):
        targets = _targets(1)
        buffer.note_targets({"not held": targets, episode.id: targets})
        kept = buffer.targets(episode.id)
        require(
            kept == targets and buffer.targets("not held") is None,
            f"targets() must give what was noted, to the bit where 16 hold it; got {kept}",
        )
    require(
        [t.id for t in buffer.sample(1)] == [episode.id],
        "notes must not change what is held while there is room",
    )


def _told(
    buffer: ReplayBuffer, episodes: Sequence[Trajectory], *, first: int = 0
) -> list[list[str]]:
    """What is sampled, time and again, while episodes come."""
    samples: list[list[str]] = []
    for number, episode in enumerate(episodes, start=first):
        _feed(buffer, number=number, episode=episode)
        if number % 5 == 0:
            samples.append([t.id for t in buffer.sample(12)])
    return samples


def _feed(buffer: ReplayBuffer, *, number: int, episode: Trajectory) -> None:
    """One more episode, an announcement now and then, and what the model makes of each second."""
    if isinstance(buffer, HasExperiences) and number % 20 == 0:
        buffer.begin_experience(f"day {number // 20}")
    buffer.add(episode)
    if number % 2:
        return
    if isinstance(buffer, HasScores):
        buffer.note_scores({episode.id: 0.1 + number % 7})
    if isinstance(buffer, HasGradients):
        sketch = [math.cos((number + 1) * (k + 1)) for k in range(buffer.sketch_size)]
        buffer.note_gradients({episode.id: sketch})
    if isinstance(buffer, HasTargets):
        buffer.note_targets({episode.id: _targets(number)})


def _targets(number: int) -> SoftTargets:
    return SoftTargets(top_k=2, token_ids=(number, number + 1) * 5, log_probs=(-0.25, -1.5) * 5)


def _episodes(num: int, *, longest: int) -> list[Trajectory]:
    """Real ones of 1 to `longest` turns, of three families, each of a task of its own."""
    (first, *_) = sample_trajectories()
    return [
        replace(
            first,
            id=f"kit/{number}",
            task=replace(first.task, id=f"kit/{number}", family=f"family {number % 3}"),
            turns=tuple(first.turns[i % len(first.turns)] for i in range(1 + number % longest)),
            stop=StopReason.STEP_LIMIT,
        )
        for number in range(num)
    ]


__all__ = ["check_replay_buffer"]
