"""The report, on a synthetic run folder: what it shows, what it refuses, what cannot break out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from experiments.report import build_report, summary_table
from experiments.report.costs import break_even, phase_seconds
from experiments.report.data import read_run
from experiments.report.learning import success_figure
from experiments.report.numbers import count, percent, points, seconds
from experiments.report.study import read_study, study_table, write_study_figure
from experiments.report.svg import linear_axis, tight_axis, unit_axis
from tests.unit.experiments.run_folder import HOSTILE, round_metrics, write_run

SECTIONS = ("learning", "model", "ledger", "episodes", "evaluation", "config")
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Reads a page, keeping elements, references and text, and checks that tags balance."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.data = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "srcset", "action", "data", "poster"}:
                self.references.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data = self.data or data
        elif self.open and self.open[-1] != "style":
            self.text += data


def built(folder: Path) -> Page:
    return Page(build_report(folder).read_text())


def write_metrics(folder: Path, *rounds: Mapping[str, float | None]) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({"round": i, "metrics": row}) for i, row in enumerate(rounds)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_the_page_has_every_section_and_balanced_tags(tmp_path: Path) -> None:
    page = built(write_run(tmp_path))
    assert page.open == []
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") >= 15
    for words in ("Exploitation gap", "By depth of dream", "Break-even line", "Calibration"):
        assert words in page.text


def test_the_headline_has_real_and_imagined_success_with_intervals_and_real_steps(
    tmp_path: Path,
) -> None:
    text = built(write_run(tmp_path)).text
    head = text[: text.index("World model")]
    assert re.search(r"Real success67% \[56, 78\]", head)
    assert re.search(r"Imagined success71% \[60, 80\]", head)
    assert "4,142" in head


def test_the_page_asks_nothing_of_the_network(tmp_path: Path) -> None:
    path = build_report(write_run(tmp_path))
    page = Page(path.read_text())
    assert all(r.startswith("#") or r == "data:," for r in page.references)
    assert not re.search(r"https?://|url\(|@import", path.read_text())
    assert "default-src 'none'" in path.read_text()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    html = build_report(write_run(tmp_path, hostile=HOSTILE)).read_text()
    page = Page(html)
    assert page.open == []
    assert page.tags.count("script") == 2
    assert "img" not in page.tags and not page.handlers
    pairs = json.loads(page.data)["pairs"]
    assert HOSTILE in pairs[0]["real"]["turns"][0]["observation"]
    assert HOSTILE in page.text, "config and kinds are shown word for word"


def test_imagined_success_is_never_shown_without_the_real_one(tmp_path: Path) -> None:
    alone = {"eval/imagined_success": 0.87654, "imagined/success": 0.87654}
    html = build_report(write_metrics(tmp_path, alone)).read_text()
    assert "Imagined success" not in html and "87" not in Page(html).text
    (tmp_path / "evaluation.json").write_text(json.dumps({"success": {"wm": {"rate": 0.87654}}}))
    assert "88%" not in Page(build_report(tmp_path).read_text()).text
    assert "88%" not in _printed(tmp_path)


def test_a_tooltip_that_names_imagined_success_names_the_real_one(tmp_path: Path) -> None:
    svg = success_figure(read_run(write_run(tmp_path)))
    tips = re.findall(r"<title>(.*?)</title>", svg, flags=re.DOTALL)
    assert len(tips) == 7
    assert all("real " in tip for tip in tips if "imagined" in tip)


def test_missing_optional_files_leave_plain_sentences(tmp_path: Path) -> None:
    page = built(write_metrics(tmp_path, {"eval/real_success": 0.5}))
    assert page.open == []
    assert "No evaluation yet" in page.text
    assert "This run kept no episodes" in page.text
    assert "holds no config.yaml" in page.text
    assert "dreamed nothing" in page.text


def test_a_run_that_was_never_evaluated_says_so(tmp_path: Path) -> None:
    folder = write_metrics(tmp_path, {"time/act_s": 1.0}, {"time/act_s": 2.0})
    assert "never evaluated" in built(folder).text
    assert "never evaluated" in _printed(folder)


def test_metrics_that_are_null_or_not_finite_are_left_out(tmp_path: Path) -> None:
    folder = write_metrics(tmp_path, {"model/em": None, "eval/real_success": float("nan")})
    assert read_run(folder).rounds[0].metrics == {}
    build_report(folder)


def test_a_folder_without_metrics_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"metrics\.jsonl"):
        build_report(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        build_report(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metrics.jsonl", "", "holds no round"),
        ("metrics.jsonl", '{"round": 1}\n{"round": 2, "metrics": {}}\n', "metrics.jsonl:1"),
        ("metrics.jsonl", "[]\n", "metrics.jsonl:1"),
        ("episodes.json", '[{"task":', "not JSON"),
        ("episodes.json", '{"task": 1}', "list of pairs"),
        ("episodes.json", '[{"imagined": {"turns": []}}]', '"real" episode'),
        ("episodes.json", '[{"real": {"turns": 3}}]', "turns"),
        ("evaluation.json", "[]", "must hold an object"),
    ],
)
def test_a_broken_file_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    write_run(tmp_path)
    before = build_report(tmp_path).read_text()
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=re.escape(words)):
        build_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == before


def test_a_last_line_cut_short_by_a_kill_is_left_out_and_told(tmp_path: Path) -> None:
    write_run(tmp_path, rounds=2)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"round": 3, "metr')
    assert [entry.index for entry in read_run(tmp_path).rounds] == [0, 1, 2]
    assert "cut short" in built(tmp_path).text


def test_a_single_round_and_a_hundred_rounds_are_drawn(tmp_path: Path) -> None:
    for num in (0, 100):
        page = built(write_run(tmp_path / str(num), rounds=num))
        assert page.open == [] and "nan" not in page.text


def test_every_drawing_keeps_its_coordinates_finite_and_parses_as_xml(tmp_path: Path) -> None:
    html = build_report(write_run(tmp_path)).read_text()
    drawings = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    for drawing in drawings:
        assert not re.search(r'="[^"]*(nan|inf)[^"]*"', drawing)
        ElementTree.fromstring(drawing)


def test_report_is_replaced_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert build_report(tmp_path) == build_report(tmp_path) == tmp_path / "report.html"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_seconds_are_those_of_the_ledger_and_break_even_counts_the_model(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path))
    last = round_metrics(6)
    assert phase_seconds(run)["model"] == last["time/model_s"]
    assert "real_s_per_step" not in phase_seconds(run)
    cost = break_even(run)
    assert cost is not None and cost.real == last["time/real_s_per_step"]
    assert cost.dream == pytest.approx(105.0 / 36_600)
    assert cost.dream_with_model == pytest.approx((105.0 + 77.0) / 36_600)


def _printed(folder: Path) -> str:
    console = Console(width=90, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(folder))
    return console.export_text()


def test_the_final_table_has_imagined_beside_real_and_fits_a_terminal(tmp_path: Path) -> None:
    shown = _printed(write_run(tmp_path))
    assert re.search(r"6 .* 4,142 .* 67% \[56, 78\] .* 71% \[60, 80\] .* \+4 pts .* 98\.2%", shown)
    assert "imagine 1 min 45 s" in shown


def test_numbers_read_well() -> None:
    assert [seconds(v) for v in (0, 3e-4, 0.0082, 12.34, 245, 3720)] == [
        "0 s",
        "300 us",
        "8.2 ms",
        "12.3 s",
        "4 min 05 s",
        "1 h 02 min",
    ]
    assert [count(v) for v in (12_345, 4_210_000, None)] == ["12,345", "4.21M", "n/a"]
    assert [points(v) for v in (0.091, -0.04, None)] == ["+9 pts", "-4 pts", "n/a"]
    assert percent(0.984, digits=1) == "98.4%"


def test_axes_cover_their_data_with_round_ticks() -> None:
    axis = linear_axis(-0.03, 0.21, label="", text=str)
    assert axis.low <= -0.03 and axis.high >= 0.21 and 0.0 in axis.ticks
    tight = tight_axis(1730, 4142, label="", text=str)
    assert tight.low < 1730 and tight.high > 4142 and 2000 in tight.ticks
    assert tight_axis(5, 5, label="", text=str).low < 5
    assert unit_axis(lowest=0.93).low == 0.9 and unit_axis(lowest=0.2).low == 0.0


def _study(folder: Path, *, seeds: int = 5) -> Path:
    """Invented numbers in the form of a study's result."""
    arms = {
        name: [
            {
                "seed": seed,
                "real_steps": 4000,
                "real_episodes": 300,
                "imagined_steps": 0 if imagined is None else 60_000,
                "real_success": success + 0.01 * seed,
                "imagined_success": imagined,
            }
            for seed in range(seeds)
        ]
        for name, success, imagined in [
            ("filtered_bc", 0.3, None),
            ("real_rl", 0.4, None),
            ("dyna_frozen", 0.5, 0.7),
            ("dyna", 0.6, 0.65),
        ]
    }
    path = folder / "study.json"
    path.write_text(json.dumps({"config": {}, "arms": arms}))
    return path


def test_the_study_figure_has_a_dot_per_seed_on_an_axis_from_0_to_1(tmp_path: Path) -> None:
    write_study_figure(_study(tmp_path), tmp_path / "figure.svg")
    root = ElementTree.fromstring((tmp_path / "figure.svg").read_text())
    name = "{http://www.w3.org/2000/svg}"
    assert len(list(root.iter(f"{name}circle"))) == 20
    words = [node.text for node in root.iter(f"{name}text")]
    assert {"0.0", "1.0", "dyna", "real_rl", "0.62"} <= set(words)


def test_the_study_table_has_means_with_t_intervals(tmp_path: Path) -> None:
    table = study_table(_study(tmp_path))
    # Mean .62, standard deviation .01581 over 5 seeds, t = 2.776.
    assert "| `dyna` | 5 | 0.620 [0.600, 0.640] | 0.650 [0.650, 0.650] | 4,000 | 60,000 |" in table
    assert "| `real_rl` | 5 | 0.420 [0.400, 0.440] | none | 4,000 | 0 |" in table


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    path = _study(tmp_path, seeds=1)
    assert "| `dyna` | 1 | 0.600 |" in study_table(path)
    write_study_figure(path, tmp_path / "figure.svg")


@pytest.mark.parametrize("content", ['{"arms": {}}', "[]", '{"arms": {"dyna": []}}', "{"])
def test_a_broken_study_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "study.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"study\.json"):
        read_study(path)
