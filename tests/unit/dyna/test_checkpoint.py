import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dyna import checkpoint
from dyna.checkpoint import CheckpointError
from dyna.files import read_json, write_json
from dyna.ledger import Ledger
from dyna.replay import FifoBuffer


class Counter:
    """A part of one number, with a file as large as asked."""

    def __init__(self, value: int = 0, *, ballast: int = 0, suffix: str = ".safetensors") -> None:
        self.value = value
        self.ballast = ballast
        self.suffix = suffix

    def save(self, folder: str) -> None:
        write_json(Path(folder) / "state.json", value=self.value)
        (Path(folder) / f"ballast{self.suffix}").write_bytes(os.urandom(self.ballast))

    def load(self, folder: str) -> None:
        self.value = read_json(Path(folder) / "state.json")


class FullDisk:
    def save(self, folder: str) -> None:
        (Path(folder) / "half").write_text("ha")
        raise OSError(errno.ENOSPC, "No space left on device")

    def load(self, folder: str) -> None:
        raise NotImplementedError


def restored(folder: Path) -> int:
    part = Counter(-1)
    checkpoint.restore(folder, parts={"counter": part})
    return part.value


def names(run: Path) -> list[str]:
    return sorted(os.listdir(run / "checkpoints"))


def test_what_is_restored_is_what_was_saved(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    for round_ in (1, 2):
        saved = checkpoint.save(
            tmp_path, round=round_, parts={"counter": Counter(10 * round_), "ledger": Ledger()}
        )
        assert saved == checkpoint.latest(tmp_path)
    assert names(tmp_path) == ["round_000001", "round_000002"]
    part = Counter()
    newest = tmp_path / "checkpoints" / "round_000002"
    assert checkpoint.restore(newest, parts={"counter": part, "ledger": Ledger()}) == 2
    assert part.value == 20


def test_real_parts_are_stateful(tmp_path: Path) -> None:
    saved = checkpoint.save(
        tmp_path, round=0, parts={"replay": FifoBuffer(max_transitions=9), "ledger": Ledger()}
    )
    files = set(read_json(saved / "complete.json")["files"])
    assert "replay/trajectories.parquet" in files and "ledger/ledger.json" in files


def test_a_round_saved_again_is_replaced(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, round=1, parts={"counter": Counter(1)})
    again = checkpoint.save(tmp_path, round=1, parts={"counter": Counter(2)})
    assert restored(again) == 2 and names(tmp_path) == ["round_000001"]


@pytest.mark.parametrize("harm", ["no marker", "half a marker", "missing", "shorter", "changed"])
def test_damaged_checkpoints_are_skipped_and_refused(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = checkpoint.save(tmp_path, round=1, parts={"counter": Counter(1)})
    bad = checkpoint.save(tmp_path, round=2, parts={"counter": Counter(2, ballast=100)})
    marker, ballast = bad / "complete.json", bad / "counter" / "ballast.safetensors"
    if harm == "no marker":
        marker.unlink()
    elif harm == "half a marker":
        marker.write_text(marker.read_text()[:40])
    elif harm == "missing":
        ballast.unlink()
    elif harm == "shorter":
        ballast.write_bytes(ballast.read_bytes()[:-1])
    else:
        ballast.write_bytes(b"x" * 100)
    with caplog.at_level(logging.WARNING):
        assert checkpoint.latest(tmp_path) == good
    assert "skipping a checkpoint" in caplog.text and "round_000002" in caplog.text
    with pytest.raises(CheckpointError, match=r"round_000002 is not whole: .*resume from another"):
        restored(bad)
    assert restored(good) == 1


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not whole: its marker"):
        restored(tmp_path / "nowhere")


def test_a_checkpoint_of_other_parts_is_refused(tmp_path: Path) -> None:
    saved = checkpoint.save(tmp_path, round=1, parts={"other": Counter()})
    with pytest.raises(CheckpointError, match=r"holds the parts \['other'\].*\['counter'\]"):
        restored(saved)


def test_a_reader_may_ask_for_some_of_the_parts_only(tmp_path: Path) -> None:
    saved = checkpoint.save(tmp_path, round=1, parts={"counter": Counter(3), "other": Counter()})
    with pytest.raises(CheckpointError, match="holds the parts"):
        restored(saved)
    part = Counter()
    checkpoint.restore(saved, parts={"counter": part}, partial=True)
    assert part.value == 3
    with pytest.raises(CheckpointError, match="holds the parts"):
        checkpoint.restore(saved, parts={"absent": part}, partial=True)


def test_pickles_and_odd_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pickle format"):
        checkpoint.save(tmp_path, round=1, parts={"counter": Counter(suffix=".pt")})
    with pytest.raises(ValueError, match="part name"):
        checkpoint.save(tmp_path, round=1, parts={"../escape": Counter()})
    assert names(tmp_path) == []


def test_a_part_that_fails_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, round=1, parts={"counter": Counter(1)})
    for round_ in (1, 2):
        with pytest.raises(OSError, match="make room on the disk") as caught:
            checkpoint.save(
                tmp_path, round=round_, parts={"counter": Counter(9), "full": FullDisk()}
            )
        assert caught.value.errno == errno.ENOSPC
        assert names(tmp_path) == ["round_000001"]
    newest = checkpoint.latest(tmp_path)
    assert newest is not None and restored(newest) == 1


def test_a_really_full_disk_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        checkpoint.save(tmp_path, round=1, parts={"counter": Counter(1, ballast=10_000)})
        with pytest.raises(OSError, match="No space left"):
            checkpoint.save(tmp_path, round=2, parts={"counter": Counter(2, ballast=100_000)})
        assert names(tmp_path) == ["round_000001"]
        newest = checkpoint.latest(tmp_path)
        assert newest is not None and restored(newest) == 1
        checkpoint.save(tmp_path, round=2, parts={"counter": Counter(2, ballast=10_000)})
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


_KILLED = """
import os, signal, sys
from dyna import checkpoint

class Part:
    def save(self, folder):
        open(folder + "/half.json", "w").write("[1, 2")
        os.kill(os.getpid(), signal.SIGKILL)
    def load(self, folder): ...

checkpoint.save(sys.argv[1], round=2, parts={"counter": Part()})
"""


def test_a_process_killed_while_saving_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    good = checkpoint.save(tmp_path, round=1, parts={"counter": Counter(1)})
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) == ["draft_000002", "round_000001"]
    assert checkpoint.latest(tmp_path) == good
    checkpoint.save(tmp_path, round=2, parts={"counter": Counter(2)})
    assert names(tmp_path) == ["round_000001", "round_000002"]


def test_a_replacement_cut_off_between_its_renames_is_undone(tmp_path: Path) -> None:
    good = checkpoint.save(tmp_path, round=1, parts={"counter": Counter(1)})
    good.rename(good.with_name("replaced_000001"))
    found = checkpoint.latest(tmp_path)
    assert found is not None and restored(found) == 1
    checkpoint.save(tmp_path, round=2, parts={"counter": Counter(2)})
    assert names(tmp_path) == ["round_000001", "round_000002"] and restored(good) == 1


def test_pruning_keeps_the_newest_whole_ones(tmp_path: Path) -> None:
    for round_ in range(5):
        checkpoint.save(tmp_path, round=round_, parts={"counter": Counter(round_)})
    (tmp_path / "checkpoints" / "round_000003" / "complete.json").unlink()
    checkpoint.prune(tmp_path, keep=2)
    assert names(tmp_path) == ["round_000002", "round_000003", "round_000004"]
    with pytest.raises(ValueError, match="keep must be >= 1, got 0"):
        checkpoint.prune(tmp_path, keep=0)
