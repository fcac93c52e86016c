"""The smallest study of continual learning, from nothing to its page; `make smoke-continual`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dyna.evaluation.continual import ResultMatrix
from dyna.files import read_json
from experiments.studies.continual.__main__ import main
from experiments.studies.continual.settings import read
from experiments.studies.jobs import ChangedStudyError

pytestmark = pytest.mark.smoke

STRATEGIES = ("none", "dual", "guarded")


def test_a_study_comes_out_whole_runs_nothing_twice_and_refuses_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = read("chain_4")
    name = f"{study.name}_smoke"
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n<!-- {name}:begin -->\n<!-- {name}:end -->\n")
    options = ["--smoke", "--strategies", ",".join(STRATEGIES), "--seeds", "1"]
    options += ["--output", str(tmp_path / "results"), "--parallel", "2"]
    main(["chain_4", *options, "--docs", str(page)])

    found = read_json(tmp_path / "results" / f"{name}.json")
    assert tuple(found) == STRATEGIES
    for entries in found.values():
        assert len(entries) == 1
        for role in ("model", "policy"):
            matrix = ResultMatrix.from_json(entries[0][f"{role}_matrix"])
            assert matrix.tasks == tuple(part["name"] for part in study.experiences)
            assert all(0 <= score <= 1 for row in matrix.scores for score in row)
            assert len(matrix.before) == len(matrix.tasks)
        assert 0 < entries[0]["memory_share"] < 1
    frame = read_json(tmp_path / "results" / f"{name}.study.json")
    assert {name: len(rows) for name, rows in frame["references"].items()} == {
        "before": 1, "joint": 1, "alone": 1,
    }  # fmt: skip
    text = page.read_text()
    assert all(f"| `{row}` | 1 |" in text for row in STRATEGIES)
    figures = sorted(path.name for path in (tmp_path / "results").glob("*.svg"))
    assert len(figures) == 5 and all(f"results/{figure}" in text for figure in figures)

    def stamps() -> dict[Path, int]:
        runs = (tmp_path / "results" / "runs").rglob("metrics.jsonl")
        return {path: path.stat().st_mtime_ns for path in runs}

    before = stamps()
    # Three strategies, joint training, untrained models, four experiences alone.
    assert len(before) == 3 + 1 + 1 + 4
    main(["chain_4", *options])
    assert stamps() == before

    settings = yaml.safe_load(study_file("chain_4").read_text())
    settings["common"].append("imagination.horizon=3")
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(settings))
    with pytest.raises(ChangedStudyError, match=r"\+imagination\.horizon=3"):
        main([str(changed), *options])
    assert stamps() == before
    assert "Strategy" in capsys.readouterr().out


def study_file(name: str) -> Path:
    import experiments.studies.continual as package

    return Path(package.__path__[0]) / f"{name}.yaml"
