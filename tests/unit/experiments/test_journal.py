"""Real experience in parts: kept as it comes, gone when the round is whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dyna.samples import sample_trajectories
from dyna.types import Source, StopReason, Trajectory
from experiments.journal import ExperienceJournal


def episodes(num: int) -> list[Trajectory]:
    first = replace(sample_trajectories()[0], round=1)
    return [replace(first, id=f"e{index}") for index in range(num)]


def journal(folder: Path) -> ExperienceJournal:
    now = iter(range(10_000))
    return ExperienceJournal(folder, clock=lambda: next(now) / 4)


def test_a_round_that_was_cut_keeps_what_was_played_of_it(tmp_path: Path) -> None:
    ours = journal(tmp_path)
    assert ours.read(1) is None
    for episode in episodes(9):
        ours.note(episode)
    ours.flush()
    found = journal(tmp_path).read(1)
    assert found == episodes(9)
    assert 1 < len(list(tmp_path.iterdir())) < 9


def test_a_whole_round_is_one_file(tmp_path: Path) -> None:
    ours = journal(tmp_path)
    ours.read(1)
    for episode in episodes(5):
        ours.note(episode)
    ours.write(1, episodes(5))
    ours.note(replace(episodes(6)[5], id="an evaluation after it"))
    ours.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["round_000001.parquet"]
    assert journal(tmp_path).read(1) == episodes(5)


def test_a_second_cut_adds_to_the_first(tmp_path: Path) -> None:
    for start, end in ((0, 3), (3, 5)):
        ours = journal(tmp_path)
        assert len(ours.read(1) or ()) == start
        for episode in episodes(5)[start:end]:
            ours.note(episode)
        ours.flush()
    assert journal(tmp_path).read(1) == episodes(5)


def test_dreams_and_what_a_policy_broke_are_not_kept(tmp_path: Path) -> None:
    ours = journal(tmp_path)
    ours.read(1)
    ours.note(replace(episodes(1)[0], source=Source.IMAGINED))
    ours.note(replace(episodes(1)[0], stop=StopReason.POLICY_ERROR, error="no such tool"))
    ours.flush()
    assert journal(tmp_path).read(1) is None


def test_a_round_without_episodes_is_whole_too(tmp_path: Path) -> None:
    ours = journal(tmp_path)
    ours.write(1, [])
    assert journal(tmp_path).read(1) == []
