import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from dyna.tracking import Tracker, read_metrics


def test_each_round_is_one_line_on_the_disk(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path / "run")
    tracker.log(0, {"real/success": 1})
    tracker.log(1, {"model/em_kind/go": 0.25, "time/act_s": 2})
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"round": 0, "metrics": {"real/success": 1.0}},
        {"round": 1, "metrics": {"model/em_kind/go": 0.25, "time/act_s": 2.0}},
    ]


def test_numbers_come_back_and_nan_is_null(tmp_path: Path) -> None:
    metrics = {"eval/a": 0.1 + 0.2, "eval/b": math.nan, "eval/c": math.inf}
    Tracker(tmp_path).log(3, metrics)
    assert '"eval/b": null' in (tmp_path / "metrics.jsonl").read_text()
    ((round_, line),) = read_metrics(tmp_path)
    assert round_ == 3 and line["eval/a"] == 0.1 + 0.2
    assert math.isnan(line["eval/b"]) and math.isnan(line["eval/c"])


@pytest.mark.parametrize(
    "name", ["success", "reel/success", "real/", "/real/x", "real/a b", "", math.nan, None]
)
def test_names_outside_the_namespaces_are_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ValueError, match="is in no namespace; begin it with one of real/"):
        Tracker(tmp_path).log(0, {name: 1.0})
    assert read_metrics(tmp_path) == []


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'real/x' is '1'"):
        Tracker(tmp_path).log(0, {"real/x": "1"})  # pyright: ignore[reportArgumentType]


def test_a_round_is_logged_once_and_in_order(tmp_path: Path) -> None:
    Tracker(tmp_path).log(4, {})
    again = Tracker(tmp_path)
    with pytest.raises(ValueError, match=r"call rewind\(3\)"):
        again.log(4, {})


def test_a_resumed_run_has_each_round_once(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    for round_ in range(5):
        tracker.log(round_, {"real/success": round_})
    resumed = Tracker(tmp_path)
    resumed.rewind(2)
    for round_ in range(3, 6):
        resumed.log(round_, {"real/success": 10 * round_})
    rounds = [(round_, line["real/success"]) for round_, line in read_metrics(tmp_path)]
    assert rounds == [(0, 0), (1, 1), (2, 2), (3, 30), (4, 40), (5, 50)]


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"round": 0, "metrics": {"real/x": 1.0}}\n{"round": 1, "real')
    assert read_metrics(tmp_path) == [(0, {"real/x": 1.0})]
    Tracker(tmp_path).log(1, {"real/x": 2.0})
    assert read_metrics(tmp_path) == [(0, {"real/x": 1.0}), (1, {"real/x": 2.0})]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"round": 0, "metrics": {}}\n{"rou\n{"round": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is no line of metrics"):
        read_metrics(tmp_path)
    with pytest.raises(FileNotFoundError, match="no metrics"):
        read_metrics(tmp_path / "elsewhere")


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorboardX") is None:
        pytest.skip("tensorboardX is not installed")
    tracker = Tracker(tmp_path, tensorboard=True)
    tracker.log(0, {"real/success": 0.5, "real/nothing": math.nan})
    tracker.rewind(0)
    tracker.log(1, {"real/success": 0.75})
    tracker.close()
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"real/success" in events and b"real/nothing" not in events


def test_missing_tensorboard_names_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        Tracker(tmp_path, tensorboard=True)
