"""The runs of a study: each in a process and a folder of its own, resumable, some at once."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from dyna.files import read_json, write_json
from dyna.tracking import read_metrics
from dyna.types import Metrics


class ChangedStudyError(ValueError):
    """A folder holds a run of other settings than the study now has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of one arm."""

    arm: str
    seed: int
    settings: tuple[str, ...]
    """A config and `key=value`, later ones win."""
    folder: Path

    def run(self) -> Metrics:
        """Train in a process of its own, or read what an earlier call left; final metrics.

        Raises `ChangedStudyError` where the folder was begun with other settings, and
        `RuntimeError` where the run failed.
        """
        self.check_settings()
        done = self.folder / "done.json"
        if not done.exists():
            verb = "resume" if (self.folder / "checkpoints").exists() else "train"
            command = [sys.executable, "-m", "experiments.cli", verb]
            command += [str(self.folder)] if verb == "resume" else self._training()
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "settings.json", value=list(self.settings))
            with (self.folder / "log.txt").open("a", encoding="utf-8") as log:
                code = subprocess.run(
                    command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
                ).returncode
            if code:
                raise RuntimeError(f"{self.arm} seed {self.seed} failed; see {log.name}")
            write_json(done, value=read_metrics(self.folder)[-1][1])
        return json.loads(done.read_text(encoding="utf-8"))

    def check_settings(self) -> None:
        """Raises `ChangedStudyError`, with the difference, where the folder is of other ones."""
        path = self.folder / "settings.json"
        if not path.exists():
            return
        begun: list[str] = read_json(path)
        if begun != list(self.settings):
            changes = difflib.unified_diff(begun, self.settings, "begun with", "now", n=0)
            raise ChangedStudyError(
                f"{self.folder} was begun with other settings; delete it to run it anew, or go "
                "back to them:\n" + "\n".join(line.rstrip() for line in changes)
            )

    def _training(self) -> list[str]:
        return [*self.settings, f"seed={self.seed}", "--run", str(self.folder)]


def run_jobs(jobs: Iterable[Job], *, num_parallel: int, console: Console) -> list[Metrics]:
    """Run them all, `num_parallel` at once; their final metrics, in order.

    Raises what `Job.run` raises; folders of changed settings are refused before anything runs.
    """
    jobs = list(jobs)
    for job in jobs:
        job.check_settings()
    with ThreadPoolExecutor(num_parallel) as pool:
        results = track(
            pool.map(Job.run, jobs), total=len(jobs), description="runs", console=console
        )
        return list(results)


def machine() -> str:
    return f"{os.cpu_count()} CPU cores, one thread per run"


__all__ = ["ChangedStudyError", "Job", "machine", "run_jobs"]
