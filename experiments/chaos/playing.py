"""One cell: a real run by the `dyna` command, a blow in the middle of it, and what came of it.

The run says in its `state.json` which phase goes on. The blow falls a short, seeded while after a
phase begins, with the driver held still for that moment: so it falls within the phase, or waits
for that of the next round.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dyna import configuring
from dyna.seeding import generator
from experiments.chaos.cells import GROUP_SIZES, NUM_ROUNDS, Cell, Victim, settings
from experiments.chaos.comparing import committed, differences
from experiments.chaos.nodes import Nodes, nodes
from experiments.chaos.processes import Census, send
from experiments.watch import STATE_FILE

_TITLES = {
    Victim.RUNNER: "DynaEnvRunner",
    Victim.HUNG_RUNNER: "DynaEnvRunner",
    Victim.ENGINE: "EngineActor",
    Victim.HUNG_ENGINE: "EngineActor",
    Victim.LEARNER: "_WrappedExecutable",
    Victim.NODE: "DynaEnvRunner",
    Victim.LATE_NODE: "DynaEnvRunner",
    Victim.LAST_NODE: "DynaEnvRunner",
}
"""What Ray calls the processes that are hit; of a node, who lives on it."""
_MAX_DELAY_S = 0.1
_LOOK_S = 0.002
_GONE_S = 120.0
"""In which everything of a run must have ended after it. Ray's agents are the last, for they look
for their parent only now and then; on a busy machine they have taken over 40 seconds."""
_LATE_S = 5.0
"""How long after the death of a node another one joins."""
_RAY_SETTINGS = {
    # The death of a node is noticed within seconds; a busy machine is not taken for a dead one.
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
    # Workers do not yield to everything else, or they would start for minutes on a busy machine.
    "RAY_worker_niceness": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "OMP_NUM_THREADS": "1",
}


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What a cell came to. `problems` is empty when all held."""

    cell: str
    problems: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    hit: str = ""
    """Where the blow fell, such as `round 1, imagine, 0.042 s in`."""
    recovered_by: str = ""
    """`itself`, or `dyna resume`."""


class NoHitError(RuntimeError):
    """The phase never came, or was always over too soon."""


class Run:
    """The `dyna` command at work in `folder`, and every process it ever had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.census = Census()
        self._driver: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> None:
        """Start `dyna ARGUMENTS`; what it says goes to `log.txt`."""
        with (self.folder / "log.txt").open("ab") as log:
            self._driver = subprocess.Popen(
                [sys.executable, "-m", "experiments.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )

    def train(self, settings: Sequence[str]) -> None:
        """Start it with nothing but these settings, none of a shipped config."""
        configuring.save(configuring.load(overrides=settings), path=self.folder / "chaos.yaml")
        self.command("train", "chaos.yaml", "--run", "run")

    @property
    def pid(self) -> int:
        if self._driver is None:
            raise RuntimeError("no command was started")
        return self._driver.pid

    @property
    def status(self) -> int | None:
        """The exit status; None while it goes on."""
        return self._driver.poll() if self._driver else None

    def wait(self) -> int:
        """The exit status; meanwhile everybody is counted."""
        while self.status is None:
            self.census.count(self.pid)
            time.sleep(0.2)
        return int(self.status)

    def state(self) -> dict[str, Any]:
        """What goes on; empty before anything does."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "run" / STATE_FILE).read_text())
        except FileNotFoundError:
            return {}
        return found if found["pid"] == self.pid else {}

    def is_playing(self) -> bool:
        """The opening is over, and all actors have been counted."""
        return self.state().get("round", 0) >= 1

    def is_in(self, phase: str, *, after: int) -> bool:
        """A round later than `after` is in `phase`."""
        state = self.state()
        is_right = state.get("status") == "running" and state["phase"] == phase
        return is_right and after < state["round"] <= NUM_ROUNDS

    def last_words(self) -> str:
        lines = (self.folder / "log.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing"

    @contextmanager
    def held_still(self) -> Iterator[None]:
        send(signal.SIGSTOP, pids=[self.pid])
        try:
            yield
        finally:
            send(signal.SIGCONT, pids=[self.pid])


def play(cell: Cell, *, model: Path, folder: Path, expected: Path | None) -> Verdict:
    """Play `cell` in a new `folder`; with no `expected` undisturbed, for others to compare with."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    os.environ |= _RAY_SETTINGS | {"PYTHONPATH": _search_path()}
    verdict = Verdict(cell=cell.name if expected else "undisturbed")
    run = Run(folder)
    changes = settings(cell, model=model, folder=folder)
    is_struck = expected is not None
    try:
        if is_struck and cell.on_nodes:
            num = 2 if cell.victim is Victim.NODE else 1
            with nodes(num=num, spill_to=folder / "spilled") as cluster:
                run.train([*changes, f"runtime.address={cluster.address}"])
                _strike(cell, run=run, cluster=cluster, verdict=verdict)
                _end(cell, run=run, cluster=cluster, verdict=verdict)
        else:
            run.train(changes)
            if is_struck:
                _strike(cell, run=run, cluster=None, verdict=verdict)
            _end(cell, run=run, cluster=None, verdict=verdict)
        _look_for_leftovers(run, verdict=verdict)
        if expected is not None and not verdict.problems:
            verdict.problems += _judge(cell, folder=folder, expected=expected)
    except (NoHitError, OSError, ValueError, RuntimeError) as error:
        verdict.problems.append(f"{type(error).__name__}: {error}")
    finally:
        run.census.kill()
    verdict.seconds = round(time.monotonic() - began, 1)
    (folder / "verdict.json").write_text(json.dumps(asdict(verdict), indent=2))
    return verdict


def _strike(cell: Cell, *, run: Run, cluster: Nodes | None, verdict: Verdict) -> None:
    if cell.victim is Victim.FULL_STORE:
        verdict.hit = "from the first round to the last"
        return
    hits: list[str] = []
    last_round = 0
    for phase in cell.phases:
        last_round, delay = _blow(cell, phase=phase, after=last_round, run=run, cluster=cluster)
        hits.append(f"round {last_round}, {phase}, {delay:.3f} s in")
        verdict.hit = "; ".join(hits)
        _help(cell, run=run, cluster=cluster, verdict=verdict)


def _blow(
    cell: Cell, *, phase: str, after: int, run: Run, cluster: Nodes | None
) -> tuple[int, float]:
    """Hit in `phase` of a round later than `after`; returns the round, and how far into it."""
    draws: list[float] = generator(0, "chaos", cell.name, phase).random(NUM_ROUNDS).tolist()
    for attempt, draw in enumerate(draws):
        # Sooner after every miss: rounds are few, and some phases short.
        delay = draw * _MAX_DELAY_S / 4**attempt
        _wait_for(phase, after=after, run=run)
        time.sleep(delay)
        is_driver = cell.victim is Victim.DRIVER
        with nullcontext() if is_driver else run.held_still():
            if run.is_in(phase, after=after):
                round = int(run.state()["round"])
                _hit(cell, run=run, cluster=cluster)
                return round, delay
    raise NoHitError(f"{phase} was always over before the blow fell")


def _wait_for(phase: str, *, after: int, run: Run) -> None:
    """Until the run comes to `phase` from another one."""
    was_in, counted = True, 0.0
    while True:
        is_in = run.is_in(phase, after=after)
        if is_in and not was_in:
            return
        was_in = is_in
        if run.status is not None:
            raise NoHitError(f"the run ended first, with status {run.status}: {run.last_words()}")
        if time.monotonic() - counted > 2.0 and not run.is_playing():
            run.census.count(run.pid)
            counted = time.monotonic()
        time.sleep(_LOOK_S)


def _hit(cell: Cell, *, run: Run, cluster: Nodes | None) -> None:
    if cell.victim is Victim.DRIVER:
        run.census.count(run.pid)
        send(signal.SIGKILL, pids=[run.pid])
        return
    if cell.victim is Victim.HUNG_WORLD:
        (run.folder / "hang").touch()
        return
    title = _TITLES[cell.victim]
    if cluster is not None:
        cluster.kill(title)
        return
    everybody = run.census.count(run.pid)
    found = [process for process in everybody if process.title.startswith(f"ray::{title}")]
    if not found:
        names = sorted({p.title.split()[0] for p in everybody if p.title.startswith("ray::")})
        raise NoHitError(f"no process is called ray::{title}, only {', '.join(names)}")
    chosen = found[
        int(generator(0, "chaos victim", cell.name, len(everybody)).integers(len(found)))
    ]
    is_hung = cell.victim in (Victim.HUNG_RUNNER, Victim.HUNG_ENGINE)
    send(signal.SIGSTOP if is_hung else signal.SIGKILL, pids=[chosen.pid])


def _help(cell: Cell, *, run: Run, cluster: Nodes | None, verdict: Verdict) -> None:
    """What the user of a run would do after the blow, if anything."""
    verdict.recovered_by = "itself"
    if cell.victim in (Victim.DRIVER, Victim.LAST_NODE):
        status = run.wait()
        if cell.victim is Victim.LAST_NODE and status != 1:
            verdict.problems.append(f"it gave up with status {status}, not 1: {run.last_words()}")
        _look_for_leftovers(run, verdict=verdict)
        verdict.recovered_by = "dyna resume"
    if cell.victim is Victim.LATE_NODE:
        time.sleep(_LATE_S)
    if cluster is not None:
        cluster.add()
    if verdict.recovered_by == "dyna resume":
        run.command("resume", "run")


def _end(cell: Cell, *, run: Run, cluster: Nodes | None, verdict: Verdict) -> None:
    with _store_filler(cell, cluster=cluster):
        status = run.wait()
    if status != 0:
        verdict.problems.append(f"the run ended with status {status}: {run.last_words()}")
    if cluster is not None and (left := cluster.actors_left(seconds=_GONE_S)):
        verdict.problems.append(f"actors are left: {', '.join(left)}")


@contextmanager
def _store_filler(cell: Cell, *, cluster: Nodes | None) -> Iterator[None]:
    if cell.victim is not Victim.FULL_STORE or cluster is None:
        yield
        return
    code = f"from experiments.chaos.nodes import fill_store; fill_store({cluster.address!r})"
    filler = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
        if filler.poll() is not None:
            raise RuntimeError(f"who fills the store ended first, with status {filler.returncode}")
    finally:
        filler.kill()
        filler.wait()


def _look_for_leftovers(run: Run, *, verdict: Verdict) -> None:
    left = run.census.left_after(_GONE_S)
    if left:
        told = ", ".join(f"{process.pid} {process.title[:60]}" for process in left[:4])
        verdict.problems.append(f"{len(left)} processes are left: {told}")


def _judge(cell: Cell, *, folder: Path, expected: Path) -> list[str]:
    if cell.victim is not Victim.HUNG_WORLD:
        return differences(folder, expected=expected, group_sizes=GROUP_SIZES)
    return list(_judge_hung(folder, expected=expected))


def _judge_hung(folder: Path, *, expected: Path) -> Iterator[str]:
    """A step that never ends costs its own episode, and nothing else of its round."""
    mine, other = (committed(place / "run" / "experience") for place in (folder, expected))
    if mine.keys() != other.keys():
        yield f"only one of the runs has {sorted(mine.keys() ^ other.keys())[:4]}"
    failed = [trajectory for trajectory in mine.values() if trajectory.stop.is_failure]
    if [trajectory.stop.value for trajectory in failed] != ["env_timeout"]:
        yield f"failures: {[(t.id, t.stop.value) for t in failed]}, not one env_timeout"
    for trajectory in failed:
        if trajectory.total_reward or trajectory.success:
            yield f"{trajectory.id} failed with reward {trajectory.total_reward:g}"
    same = [t for t in mine.values() if failed and t.round <= failed[0].round and t not in failed]
    for trajectory in same:
        if trajectory.total_reward != other[trajectory.id].total_reward:
            yield f"{trajectory.id} has another reward than in the undisturbed run"


def _search_path() -> str:
    """Workers on every node find our packages where this process does."""
    here: Sequence[str] = [str(Path(__file__).resolve().parents[2])]
    return os.pathsep.join([*here, *filter(None, [os.environ.get("PYTHONPATH", "")])])
