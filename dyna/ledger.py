"""What the run has spent: every real interaction once, every imagined one beside it.

A claim of sample efficiency is only as good as this count. Each real episode is entered under its
id, and entering it again is an error; demonstrations and evaluations are counted apart, so that
"real steps spent on training" means what it says.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dyna.files import read_json, write_json
from dyna.spending import Meter, Usage
from dyna.types import Metrics, Source, StopReason, Trajectory

ACT, IMAGINE, MODEL = "act", "imagine", "model"
"""The phases that the break-even compares: real play, dreams, training the world model."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """Sums over the episodes of one account."""

    episodes: int = 0
    resets: int = 0
    steps: int = 0
    wins: int = 0
    invalid_actions: int = 0
    """Actions that the world, or the model of it, did not carry out."""
    action_tokens: int = 0
    """Sampled by the policy."""
    answer_tokens: int = 0
    """Sampled by the world model; 0 in a real world."""
    stops: dict[str, int] = field(default_factory=dict[str, int])
    """Episodes by `StopReason`."""

    def add(self, trajectory: Trajectory) -> None:
        turns = trajectory.new_turns
        self.episodes += 1
        self.resets += trajectory.branch_point == 0
        self.steps += len(turns)
        self.wins += trajectory.success
        for turn in turns:
            self.invalid_actions += turn.outcome.valid is False
            self.action_tokens += len(turn.action.token_ids)
            self.answer_tokens += len(turn.outcome.token_ids)
        self.stops[trajectory.stop.value] = self.stops.get(trajectory.stop.value, 0) + 1

    @property
    def failures(self) -> int:
        return sum(n for stop, n in self.stops.items() if StopReason(stop).is_failure)

    def metrics(self, account: str) -> Metrics:
        counts = asdict(self)
        stops: dict[str, int] = counts.pop("stops")
        named = {f"ledger/{account}_{name}": float(n) for name, n in counts.items()}
        named[f"ledger/{account}_failures"] = float(self.failures)
        named.update({f"ledger/{account}_stop/{stop}": float(n) for stop, n in stops.items()})
        return named


class Ledger:
    """Counts of interaction and seconds by phase.

    Accounts: `real` (all real training experience), `demonstration` (the part of it that an expert
    played), `verification` (the part that an alarm spent to check dreams), `evaluation` (real, not
    learned from), `imagined`, `imagined_evaluation`.
    Example: 40 demonstrations of 10 turns and 60 episodes of 20 turns give
    `ledger/real_steps` 1600 and `ledger/demonstration_steps` 400.
    """

    accounts = (
        "real",
        "demonstration",
        "verification",
        "evaluation",
        "imagined",
        "imagined_evaluation",
    )

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, meter: Meter | None = None
    ) -> None:
        """`meter` is where calls of model servers are counted; none where nobody makes any."""
        self._clock = clock
        self._meter = meter
        self._server = Usage()
        self._tallies = {account: Tally() for account in self.accounts}
        self._entered: set[str] = set()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._phases: list[str] = []
        self._mark = 0.0

    def __getitem__(self, account: str) -> Tally:
        return self._tallies[account]

    @property
    def server(self) -> Usage:
        """Calls of model servers, what they read and wrote, and their price."""
        self._read_meter()
        return self._server

    @property
    def real_steps(self) -> int:
        """Steps of the real world spent on training, demonstrations included."""
        return self._tallies["real"].steps

    def __contains__(self, trajectory_id: str) -> bool:
        """Whether the real episode of this id was entered."""
        return trajectory_id in self._entered

    def enter(self, trajectory: Trajectory, *, evaluation: bool = False) -> None:
        """Count one episode, failed ones too; of a dream only the turns after its branch point.

        Raises `ValueError` if a real episode of this id was entered before.
        """
        if trajectory.source is not Source.REAL:
            account = "imagined_evaluation" if evaluation else "imagined"
            self._tallies[account].add(trajectory)
            return
        if trajectory.id in self._entered:
            raise ValueError(
                f"real episode {trajectory.id!r} is in the ledger already; enter each episode "
                "once, where it was played, and give every episode of a run its own id"
            )
        self._entered.add(trajectory.id)
        self._tallies["evaluation" if evaluation else "real"].add(trajectory)
        if trajectory.behavior == "expert" and not evaluation:
            self._tallies["demonstration"].add(trajectory)

    def note_verification(self, trajectory: Trajectory) -> None:
        """Count a real episode that was entered as one that checked a dream.

        Raises `ValueError` for one that was not entered: it would be spent and not counted.
        """
        if trajectory.id not in self._entered:
            raise ValueError(f"episode {trajectory.id!r} is not in the ledger; enter it first")
        self._tallies["verification"].add(trajectory)

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Charge the block's seconds to `name`; a phase inside another one interrupts it."""
        self._charge()
        self._phases.append(name)
        try:
            yield
        finally:
            self._charge()
            self._phases.pop()

    def add_seconds(self, name: str, *, seconds: float) -> None:
        """Charge what was spent on a phase before this ledger was there."""
        self._seconds[name] += seconds

    def seconds(self, name: str) -> float:
        self._charge()
        return self._seconds[name]

    def metrics(self) -> Metrics:
        """Counts so far as `ledger/...`, seconds so far as `time/...`."""
        self._charge()
        self._read_meter()
        named: Metrics = {}
        for account, tally in self._tallies.items():
            named.update(tally.metrics(account))
        if self._server.calls:
            server = asdict(self._server)
            named.update({f"ledger/server_{name}": float(n) for name, n in server.items()})
        named.update({f"time/{name}_s": spent for name, spent in sorted(self._seconds.items())})
        named["time/real_s_per_step"] = self._seconds_per_step(ACT, account="real")
        named["time/imagined_s_per_step"] = self._seconds_per_step(IMAGINE, account="imagined")
        return named

    def break_even(self) -> str:
        """One line: what a step costs in either world, and from when on dreams save time.

        Model-based learning saves wall-clock only where the real world is slower than the dreams
        and the training of their model together.
        """
        real = self._seconds_per_step(ACT, account="real")
        imagined = self._seconds_per_step(IMAGINE, account="imagined")
        if math.isnan(real) or math.isnan(imagined) or not real or not imagined:
            return "break-even: unknown until both real and imagined steps have been taken"
        steps = self._tallies["imagined"].steps
        spent = self.seconds(IMAGINE) + self.seconds(MODEL)
        return (
            f"break-even: a real step took {_seconds(real)}, an imagined one {_seconds(imagined)}; "
            f"the {steps} imagined steps took {_seconds(spent)} with the model's training, which "
            f"buys {spent / real:.0f} real steps here; dreams save time where a real step takes "
            f"over {_seconds(spent / steps)}"
        )

    def save(self, folder: str) -> None:
        """Counts to `ledger.json`; seconds, on which no two runs agree, to `seconds.json`."""
        self._charge()
        self._read_meter()
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        tallies = {account: asdict(tally) for account, tally in self._tallies.items()}
        counts: dict[str, Any] = {"tallies": tallies, "entered": sorted(self._entered)}
        if self._server.calls:
            counts["server"] = asdict(self._server)
        write_json(path / "ledger.json", value=counts)
        write_json(path / "seconds.json", value=dict(sorted(self._seconds.items())))

    def load(self, folder: str) -> None:
        counts: dict[str, Any] = read_json(Path(folder) / "ledger.json")
        seconds: dict[str, float] = read_json(Path(folder) / "seconds.json")
        self._tallies = {name: Tally(**counts["tallies"][name]) for name in self.accounts}
        self._entered = set(counts["entered"])
        self._server = Usage(**counts.get("server", {}))
        if self._meter is not None:
            self._meter.begin_at(self._server.cost)
        self._seconds = defaultdict(float, seconds)
        self._mark = self._clock()

    def _read_meter(self) -> None:
        if self._meter is not None:
            self._server += self._meter.take()

    def _charge(self) -> None:
        now = self._clock()
        if self._phases:
            self._seconds[self._phases[-1]] += now - self._mark
        self._mark = now

    def _seconds_per_step(self, phase: str, *, account: str) -> float:
        steps = self._tallies[account].steps
        return self.seconds(phase) / steps if steps else math.nan


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
