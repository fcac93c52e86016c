"""A run whose learners are lost does by itself what `dyna resume` would, but not for ever."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from dyna.rllib.failures import LostLearnerError
from experiments.run import MAX_RECOVERIES
from experiments.watch import Progress
from tests.e2e.tiny_run import assert_same, metrics_of, play, tiny


class LosesLearners(Progress):
    """Loses them as often as `at` says, by round and phase."""

    def __init__(self, at: dict[tuple[int, str], int], *, folder: Path) -> None:
        super().__init__(rounds=3, console=Console(file=io.StringIO()), folder=folder)
        self.at = Counter(at)
        self.seen: list[str] = []

    @contextmanager
    def phase(self, name: str, *, total: int) -> Iterator[None]:
        with super().phase(name, total=total):
            if self.at[self.round, name]:
                self.at[self.round, name] -= 1
                raise LostLearnerError("1 of 2 learners of 'policy' died")
            yield

    def note(self, status: str) -> None:
        super().note(status)
        self.seen.append(status)


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    play(tiny(model), folder=folder)
    return folder


def test_a_round_begins_again_and_no_real_episode_is_spent_twice(
    undisturbed: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, log = tmp_path / "run", tmp_path / "resets"
    folder.mkdir()
    world = f"world.params={{admissible: true, log: {log}}}"
    config = tiny(model, "world.name=tests.e2e.faulty_parts:FaultyWorld", world)
    # Before the first checkpoint, in the middle, and twice in one round.
    progress = LosesLearners(
        {(0, "imitate"): 1, (2, "improve"): 2, (3, "evaluate"): 1}, folder=folder
    )
    play(config, folder=folder, progress=progress)
    assert_same(folder, undisturbed)
    resets = [line for line in log.read_text().splitlines() if "/train/" in line]
    assert len(resets) == 6 + 3 * 4
    assert caplog.text.count("1 of 2 learners of 'policy' died") == 4
    assert progress.seen.count("recovering") == 4 and "failed" not in progress.seen
    assert json.loads((folder / "state.json").read_text())["status"] == "done"


def test_a_round_that_loses_them_again_and_again_ends_the_run_loudly(
    undisturbed: Path, model: Path, tmp_path: Path
) -> None:
    progress = LosesLearners({(2, "model"): MAX_RECOVERIES + 1}, folder=tmp_path)
    with pytest.raises(LostLearnerError):
        play(tiny(model), folder=tmp_path, progress=progress)
    assert json.loads((tmp_path / "state.json").read_text())["status"] == "failed"
    assert [round for round, _ in metrics_of(tmp_path)] == [0, 1]
    play(tiny(model), folder=tmp_path, resume=True)
    assert_same(tmp_path, undisturbed)
