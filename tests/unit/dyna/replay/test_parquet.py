import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.replay import TrajectoryFileError, iter_parts, read_trajectories, write_trajectories
from dyna.replay.codec import decode, encode
from dyna.types import Action, Outcome, Start, Task, Trajectory
from tests.unit.dyna.replay.strategies import episode, trajectories


@settings(max_examples=40, deadline=None)
@given(st.lists(trajectories(), max_size=4))
def test_what_is_read_is_what_was_written(stored: list[Trajectory]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "episodes.parquet"
        write_trajectories(path, stored)
        assert read_trajectories(path) == stored


@settings(max_examples=40, deadline=None)
@given(trajectories())
def test_the_compact_form_holds_every_field(trajectory: Trajectory) -> None:
    assert decode(encode(trajectory)) == trajectory


def test_floats_keep_their_bits_and_types(tmp_path: Path) -> None:
    odd = (float("inf"), -0.0, 5e-324, 0.1 + 0.2)
    base = episode("e")
    action = replace(base.turns[0].action, log_probs=odd)
    one = replace(base, turns=(replace(base.turns[0], action=action),))
    write_trajectories(tmp_path / "t", [one])
    for back in (read_trajectories(tmp_path / "t")[0], decode(encode(one))):
        log_probs = back.turns[0].action.log_probs
        assert [x.hex() for x in log_probs] == [x.hex() for x in odd]
        assert type(back.turns) is tuple and type(log_probs) is tuple


def test_the_columns_cover_every_field_of_the_types(tmp_path: Path) -> None:
    write_trajectories(tmp_path / "t", [])
    schema = pq.read_schema(tmp_path / "t")
    episode_columns = len(fields(Trajectory)) - 3 + len(fields(Task)) + len(fields(Start)) + 1
    assert len(schema.names) == episode_columns
    assert schema.field("turns").type.value_type.num_fields == len(fields(Action)) + len(
        fields(Outcome)
    )


def test_more_episodes_than_one_chunk_keep_their_order(tmp_path: Path) -> None:
    stored = [episode(str(i), num_turns=i % 3) for i in range(600)]
    write_trajectories(tmp_path / "t", iter(stored))
    assert read_trajectories(tmp_path / "t") == stored


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_trajectories(path, [episode("old")])

    def breaking() -> Iterator[Trajectory]:
        yield episode("new")
        raise RuntimeError("the source of trajectories broke")

    with pytest.raises(RuntimeError, match="broke"):
        write_trajectories(path, breaking())
    assert read_trajectories(path) == [episode("old")]
    assert os.listdir(tmp_path) == ["t.parquet"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.*check the path"):
        read_trajectories(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "t.parquet"
    write_trajectories(path, [episode(str(i)) for i in range(50)])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(TrajectoryFileError, match=r"t\.parquet is not a whole.*restore it"):
        read_trajectories(path)


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_trajectories(path, [episode(str(i)) for i in range(50)])
    damaged = bytearray(path.read_bytes())
    damaged[60] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(TrajectoryFileError, match="damaged"):
        read_trajectories(path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not parquet at all")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other")
    with pytest.raises(TrajectoryFileError, match="text is not a whole Parquet file"):
        read_trajectories(tmp_path / "text")
    with pytest.raises(TrajectoryFileError, match="holds no trajectories"):
        read_trajectories(tmp_path / "other")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        path = mount / "t.parquet"
        write_trajectories(path, [episode("old")])
        large = episode("new", num_turns=1)
        random = replace(large, error=os.urandom(80_000).hex())
        with pytest.raises(OSError, match="No space"):
            write_trajectories(path, [random])
        assert read_trajectories(path) == [episode("old")]
        assert os.listdir(mount) == ["t.parquet"]
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"error": "\ud800"}, "no valid Unicode"),
        ({"round": 2**63}, "beyond 64 bits"),
        ({"model_version": 2**63}, "beyond 64 bits"),
        ({"task": Task(id="t", world="w", family="f", split="s", params={"a": (1,)})}, "JSON"),
        ({"task": Task(id="t", world="w", family="f", split="s", params={"a": 1e999})}, "JSON"),
    ],
)
def test_values_that_no_file_returns_equal_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    odd = replace(episode("odd"), **change)
    with pytest.raises(ValueError, match=message):
        encode(odd)
    with pytest.raises(ValueError, match=message):
        write_trajectories(tmp_path / "t", [episode("fine"), odd])
    assert os.listdir(tmp_path) == []


def test_damaged_parts_are_named_and_left_out_only_if_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tmp_path / f"part-{number}.parquet" for number in range(3)]
    for path in paths:
        write_trajectories(path, [episode(f"{path.stem}/{i}") for i in range(2)])
    paths[1].write_bytes(paths[1].read_bytes()[:-30])
    with pytest.raises(TrajectoryFileError, match=r"part-1\.parquet is not a whole"):
        list(iter_parts(paths))
    kept = [t.id for t in iter_parts(paths, skip_damaged=True)]
    assert kept == ["part-0/0", "part-0/1", "part-2/0", "part-2/1"]
    assert "part-1.parquet" in caplog.text and "1 of 3 parts were damaged" in caplog.text
    with pytest.raises(FileNotFoundError, match="nowhere"):
        list(iter_parts([tmp_path / "nowhere"], skip_damaged=True))
