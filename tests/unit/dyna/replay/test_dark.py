"""DER: a reservoir whose trajectories carry what the model predicted when they were new."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from scipy import stats

from dyna.files import DamagedFileError
from dyna.protocols import HasTargets
from dyna.replay import DarkExperienceBuffer
from dyna.types import SoftTargets
from tests.unit.dyna.replay.strategies import episode

MIN_P = 1e-6


def targets(seed: int, *, num_places: int = 10) -> SoftTargets:
    """Log-probs that 16 bits hold."""
    ids = tuple((seed * 7 + i) % 90_000 for i in range(2 * num_places))
    return SoftTargets(top_k=2, token_ids=ids, log_probs=(-0.25, -1.5) * num_places)


def test_what_was_noted_first_is_given_back_to_the_last_bit() -> None:
    buffer = DarkExperienceBuffer(max_transitions=100, top_k=2)
    assert isinstance(buffer, HasTargets)
    buffer.add(episode("a"))
    assert buffer.targets("a") is None and buffer.targets("b") is None
    buffer.note_targets({"a": targets(1), "b": targets(2)})
    buffer.note_targets({"a": targets(3)})
    assert buffer.targets("a") == targets(1) and buffer.targets("b") is None


def test_stored_predictions_count_as_bytes_and_make_room_for_themselves() -> None:
    buffer = DarkExperienceBuffer(max_transitions=1000, max_bytes=60_000, top_k=2, seed=1)
    for number in range(60):
        buffer.add(episode(str(number)))
    held, before = buffer.num_trajectories, buffer.num_bytes
    assert held == 60
    buffer.note_targets({str(n): targets(n, num_places=200) for n in range(10)})
    assert buffer.num_bytes >= before and buffer.num_bytes <= 60_000
    buffer.note_targets({str(n): targets(n, num_places=200) for n in range(60)})
    assert buffer.num_bytes <= 60_000 and 0 < buffer.num_trajectories < held
    noted = [t.id for t in buffer.trajectories()]
    assert all(buffer.targets(id) == targets(int(id), num_places=200) for id in noted)
    assert buffer.num_bytes >= 6 * 2 * 200 * len(noted)


def test_it_holds_old_and_new_alike() -> None:
    """A chi-squared test over quarters of the stream; it fails with odds of one in a million."""
    places = Counter[int]()
    for seed in range(120):
        buffer = DarkExperienceBuffer(max_transitions=20, seed=seed)
        for number in range(80):
            buffer.add(episode(str(number), num_turns=1))
            buffer.note_targets({str(number): targets(number)})
        places.update(int(t.id) // 20 for t in buffer.trajectories())
    assert stats.chisquare([places[quarter] for quarter in range(4)]).pvalue > MIN_P


def test_stored_predictions_survive_a_restore(tmp_path: Path) -> None:
    buffer = DarkExperienceBuffer(max_transitions=30, top_k=2, seed=3)
    for number in range(20):
        buffer.add(episode(str(number)))
    buffer.note_targets({str(n): targets(n) for n in range(20)})
    buffer.save(str(tmp_path))
    other = DarkExperienceBuffer(max_transitions=30, top_k=2)
    other.load(str(tmp_path))
    names = [t.id for t in buffer.trajectories()]
    assert [other.targets(name) for name in names] == [targets(int(name)) for name in names]
    assert other.num_bytes == buffer.num_bytes

    attachments = tmp_path / "attachments.parquet"
    attachments.write_bytes(attachments.read_bytes()[:-20])
    with pytest.raises(DamagedFileError, match=r"attachments\.parquet is damaged"):
        other.load(str(tmp_path))
    attachments.unlink()
    with pytest.raises(FileNotFoundError, match=r"attachments\.parquet does not exist"):
        other.load(str(tmp_path))
    assert [t.id for t in other.trajectories()] == names


@pytest.mark.parametrize(
    ("params", "words"),
    [({"top_k": 0}, "top_k"), ({"alpha": -1.0}, "alpha"), ({"beta": math.inf}, "beta")],
)
def test_senseless_parameters_are_refused(params: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DarkExperienceBuffer(max_transitions=5, **params)  # pyright: ignore[reportArgumentType]
