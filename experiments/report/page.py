"""The page: figures, tables and the viewer's data put into one HTML file that needs nothing else.

Everything that comes from a run is escaped on its way in: text as HTML, the viewer's data as JSON
in which no `<` survives, so that `</script>` in an observation stays an observation.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from dyna.files import replacing
from experiments.report import costs, fidelity, learning, verdict
from experiments.report.data import Round, Run, read_rate, read_run
from experiments.report.numbers import count, percent, points, rate_text, seconds


def build_report(folder: Path) -> Path:
    """Write `<folder>/report.html` from what the run left there, and return its path.

    The file is replaced in one step: a reader never sees half a page.

    Raises:
        FileNotFoundError: there is no such folder, or it has no `metrics.jsonl`.
        ValueError: a file in it does not hold what `experiments.report.data` says.
    """
    page = render_page(read_run(folder))
    path = folder / "report.html"
    with replacing(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return path


def render_page(run: Run) -> str:
    """The whole page as text."""
    script = _resource("report.js")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return Template(_resource("template.html")).substitute(
        name=escape(run.name),
        script_hash=f"sha256-{digest}",
        style=_resource("report.css"),
        script=script,
        headline=headline(run),
        notices="".join(f'<p class="notice">{escape(text)}</p>' for text in run.notices),
        learning=_learning(run),
        model=_model(run),
        ledger=_ledger(run),
        episodes=_episodes(run),
        evaluation=_evaluation(run),
        config=_config(run),
        data=script_json({"pairs": run.episodes or ()}),
    )


def script_json(value: Any) -> str:
    """JSON that is safe inside a `<script>` element, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _resource(name: str) -> str:
    return files("experiments.report").joinpath(name).read_text(encoding="utf-8")


def headline(run: Run) -> str:
    """Final real success with its interval, imagined beside it, and the real steps it took."""
    rounds = run.evaluated()
    if not rounds:
        return "<p class='lead'>This run was never evaluated in the real world.</p>"
    final, first = rounds[-1], rounds[0]
    real = final.rate("eval/real_success")
    imagined = final.rate("eval/imagined_success")
    steps = final.get("ledger/real_steps")
    cards = [_card("Real success", rate_text(real), css="real", note=_since(first, final=final))]
    cards.append(
        _card(
            "Imagined success",
            rate_text(imagined),
            css="imagined",
            note="same policy and tasks, inside the world model",
        )
    )
    gap = final.get("eval/exploitation_gap")
    cards.append(
        _card("Exploitation gap", points(gap), css="gap", note="imagined minus real success")
    )
    episodes = final.get("ledger/real_episodes")
    note = "" if episodes is None else f"in {count(episodes)} episodes, all counted"
    cards.append(_card("Real steps spent", count(steps), css="ink", note=note))
    return f'<div class="cards">{"".join(cards)}</div>'


def _since(first: Round, *, final: Round) -> str:
    if first.index == final.index:
        return "95% interval, held-out tasks"
    start = rate_text(first.rate("eval/real_success"))
    origin = "after cloning" if first.index == 0 else f"in round {first.index}"
    return f"held-out tasks; {start} {origin}"


def _card(title: str, value: str, *, css: str, note: str) -> str:
    main, bracket, interval = value.partition(" [")
    tail = f" <small>[{escape(interval)}</small>" if bracket else ""
    return (
        f'<div class="card {css}"><h2>{escape(title)}</h2><p class="big">{escape(main)}{tail}</p>'
        f'<p class="note">{escape(note)}</p></div>'
    )


def figure(title: str, caption: str, svg: str, *, absent: str = "") -> str:
    """A titled drawing; a plain sentence where there is nothing to draw."""
    body = svg or f'<p class="absent">{escape(absent or "This run reports no such numbers.")}</p>'
    return (
        f"<figure><figcaption><h3>{escape(title)}</h3><p>{escape(caption)}</p></figcaption>"
        f"{body}</figure>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """A table of text cells; the first column names the row."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll"><table>{said}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _learning(run: Run) -> str:
    rows = [
        [
            str(entry.index),
            count(entry.get("ledger/real_steps")),
            rate_text(entry.rate("eval/real_success")),
            rate_text(entry.rate("eval/imagined_success")),
            points(entry.get("eval/exploitation_gap")),
        ]
        for entry in run.evaluated()
    ]
    head = ["round", "real steps", "real success", "imagined success", "gap"]
    values = table(head, rows) if rows else ""
    details = f"<details><summary>Values by round</summary>{values}</details>" if values else ""
    return (
        figure(
            "Success on held-out tasks",
            "Greedy policy, real world and world model, against every real step spent so far. "
            "Bands are 95% intervals.",
            learning.success_figure(run),
            absent="This run was never evaluated in the real world.",
        )
        + figure(
            "Exploitation gap",
            "Imagined minus real success, in percentage points. Above zero, the model flatters "
            "the policy.",
            learning.gap_figure(run),
            absent="No imagined evaluation: the gap is unknown.",
        )
        + figure(
            "Success while practicing",
            "Sampled episodes of each round, real ones and dreams.",
            learning.practice_figure(run),
        )
        + figure(
            "What went wrong in dreams",
            "Dreams that the model doubted, predictions that could not be read, and actions "
            "answered as invalid.",
            learning.dreams_figure(run),
            absent="No dreams were counted.",
        )
        + details
    )


def _model(run: Run) -> str:
    held = [r.index for r in run.rounds if r.metrics.get("model/gate_accepted", 1.0) < 1]
    gate = (
        "A dotted line marks an update that the gate held back."
        if held
        else "Every update passed the gate."
    )
    return (
        figure(
            "One-step exact match",
            f"Held-out real turns; valid and invalid actions apart. {gate}",
            fidelity.fidelity_figure(run),
        )
        + figure(
            "Predicted successes",
            "How many predicted wins are wins (precision), and how many wins are predicted "
            "(recall). Precision is what a policy exploits.",
            fidelity.wins_figure(run),
        )
        + figure(
            "By kind of action",
            "Newest check, worst first; actions that the world refuses stand apart.",
            fidelity.kinds_figure(run),
        )
        + figure(
            "By depth of dream",
            "Exact match of the k-th prediction in a row, each made on the model's own words.",
            fidelity.depth_figure(run),
        )
    )


def _ledger(run: Run) -> str:
    names = {
        "real_steps": "real steps",
        "demonstration_steps": "of these by experts",
        "real_episodes": "real episodes",
        "real_resets": "real resets",
        "evaluation_steps": "evaluation steps",
        "imagined_steps": "imagined steps",
        "imagined_answer_tokens": "imagined tokens",
    }
    rows = [
        [
            str(entry.index),
            *(count(entry.get(f"ledger/{name}")) for name in names),
            seconds(costs.seconds_so_far(entry)),
        ]
        for entry in run.rounds
        if entry.named("ledger/") or entry.named("time/")
    ]
    head = ["round", *names.values(), "time"]
    counts = (
        table(head, rows, caption="So far, at the end of each round")
        if rows
        else '<p class="absent">This run kept no ledger.</p>'
    )
    return (
        f'<div class="wide">{counts}</div>'
        + figure("Seconds by phase", "Over the whole run.", costs.phases_figure(run))
        + figure(
            "Break-even line",
            costs.break_even_sentence(run),
            costs.break_even_figure(run),
            absent="Nothing to draw.",
        )
    )


def _episodes(run: Run) -> str:
    if not run.episodes:
        return '<p class="absent">This run kept no episodes to show.</p>'
    return _resource("viewer.html")


def _evaluation(run: Run) -> str:
    if run.evaluation is None:
        return (
            '<p class="absent">No evaluation yet. <code>dyna evaluate</code> with this run writes '
            "one, and this page then shows it.</p>"
        )
    found = run.evaluation
    ece = verdict.section(found, name="calibration").get("ece")
    error = "" if ece is None else f" Expected calibration error {percent(ece, digits=1)}."
    return (
        figure(
            "Success: Real, WM, W2R",
            "The agent in the world; inside the model; and the model's actions replayed open-loop "
            "in the world. 95% intervals.",
            verdict.success_figure(found),
            absent="Real success was not measured, so none is shown.",
        )
        + _consistency(found)
        + figure(
            "One-step exact match",
            "Greedy prediction on real prefixes; observation, reward and termination apart.",
            verdict.one_step_figure(found),
        )
        + figure(
            "By kind of action",
            "Exact match with 95% intervals, worst first.",
            verdict.kinds_figure(found),
        )
        + figure(
            "Where dreams part from the world",
            "Step of the first difference when the same actions are played in both.",
            verdict.divergence_figure(found),
        )
        + figure(
            "Selective fidelity",
            "Exact match on the steps that the model is surest of.",
            verdict.selective_figure(found),
        )
        + figure(
            "Calibration",
            f"Right predictions against stated confidence; the diagonal is perfect.{error}",
            verdict.calibration_figure(found),
        )
    )


def _consistency(found: dict[str, Any]) -> str:
    part = verdict.section(found, name="consistency")
    if not part:
        return ""
    ratio = part.get("cr")
    rows = [["Consistency ratio, W2R / Real", "n/a" if ratio is None else f"{ratio:.2f}"]]
    labels = {
        "agreement": "Same outcome",
        "false_positives": "Won in the model, lost in the world",
        "false_negatives": "Lost in the model, won in the world",
    }
    for key, label in labels.items():
        if (rate := read_rate(part.get(key))) is not None:
            rows.append([label, rate_text(rate, digits=1)])
    if (num := part.get("num_tasks")) is not None:
        rows.append(["Tasks", count(num)])
    body = table(["model (WM) against world (W2R)", ""], rows)
    return (
        "<figure><figcaption><h3>Consistency</h3><p>The same tasks and actions, paired.</p>"
        f"</figcaption>{body}</figure>"
    )


def _config(run: Run) -> str:
    if run.config is None:
        return '<p class="absent">The folder holds no config.yaml.</p>'
    return (
        '<details class="wide" open><summary>Resolved config</summary>'
        f"<pre>{escape(run.config)}</pre></details>"
    )
