"""`dyna worlds`: what is there, a game in the terminal, and the contract on every split."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dyna.envs.catalog import WORLDS, WorldInfo
from dyna.envs.corridor import CorridorEnv, CorridorWorld
from dyna.envs.extras import MissingExtraError, install_command
from dyna.types import Action, Context, Outcome
from experiments.cli import MISTAKE, main
from experiments.worlds import readiness

HERE = __name__
SMALL = ["num_receptacles=3", "num_objects=2"]


class FiniteWorld(CorridorWorld):
    """Two splits of a few tasks, and an expert who knows the way but for some tasks."""

    def __init__(self, *, lost: int = 0, log: str = "") -> None:
        super().__init__(num_doors=3, max_turns=20)
        self._lost, self._log = lost, log

    @property
    def splits(self) -> Mapping[str, int | None]:
        return {"train": 4, "valid_seen": 2}

    def fingerprint(self, task: object) -> str:
        return str(task)

    def tasks(self, *, split: str, num: int, offset: int = 0):  # type: ignore[no-untyped-def]  # noqa: ANN201
        if offset + num > (self.splits.get(split) or 0):
            raise ValueError(f"split {split!r} has fewer than {offset + num} tasks")
        return super().tasks(split=split, num=num, offset=offset)

    @property
    def expert(self) -> Callable[[Context], str]:
        def know(context: Context) -> str:
            if context.task.seed < self._lost:
                return "go left"
            room = re.findall(r"\d+", context.last_observation)[-1]
            return self.way[int(room) - 1]

        return know

    def close(self) -> None:
        if self._log:
            with open(self._log, "a", encoding="utf-8") as file:
                file.write("closed\n")


class ForgetfulWorld(CorridorWorld):
    """Breaks a rule: it answers what it should refuse with an exception."""

    def make(self) -> CorridorEnv:
        return ForgetfulEnv(self.way, max_turns=9)


class ForgetfulEnv(CorridorEnv):
    async def step(self, action: Action) -> Outcome:
        if not action.command.isascii():
            raise KeyError(action.command)
        return await super().step(action)


class UnmadeWorld(CorridorWorld):
    def __init__(self) -> None:
        raise MissingExtraError(f"the world `unmade` cannot be made; run: {install_command('x')}")


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what is typed into the terminal."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_every_world_is_listed_with_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worlds"]) == 0
    shown = capsys.readouterr().out
    for info in WORLDS:
        (row,) = re.findall(rf"^{info.name} +(.*)", shown, re.MULTILINE)
        assert info.summary in row
        assert row.startswith(("yes", "with data", "no: install", 'pip install "dyna-agents['))
    assert re.search(r"^alfworld: data=the folder .*GPL-2.0", shown, re.MULTILINE)
    assert "dyna worlds play WORLD key=value" in shown


def test_a_world_without_its_extra_says_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere: dict[str, str] = {"no-such-distribution": ">=1"}
    monkeypatch.setitem(sys.modules["dyna.envs.extras"].EXTRAS, "nothing", nowhere)  # type: ignore[arg-type]
    absent = WorldInfo(name="x", summary="", extra="nothing")
    assert readiness(absent) == 'pip install "dyna-agents[nothing]"'
    monkeypatch.setenv("PATH", "")
    assert readiness(WorldInfo(name="x", summary="", java=True)).startswith("no: install Java")
    assert readiness(WorldInfo(name="x", summary="", data_required=True)) == "with data=PATH"
    assert readiness(WorldInfo(name="x", summary="")) == "yes"


def test_a_person_plays_with_lists_and_hints(
    typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    typed("?\nfly\n!\nquit\n")
    assert main(["worlds", "play", "household", "admissible=true", "--task", "2", *SMALL]) == 0
    shown = capsys.readouterr().out
    assert "household/pick_and_place/train/" in shown and "Your task is to: put" in shown
    assert re.search(r"^> go to .*\n(go to .*\n)*help\ninventory\nlook", shown, re.MULTILINE)
    assert "Nothing happens.\n[not carried out]" in shown
    assert re.search(r"> (go to|take|open) \w+", shown.split("not carried out")[1])
    assert shown.endswith("left before the end\nnot won after 1 turns, return 0\n")


def test_a_game_that_is_won_says_so(
    typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    world = FiniteWorld()
    typed("\n".join(world.way))
    assert main(["worlds", "play", f"{HERE}:FiniteWorld", "--split", "valid_seen"]) == 0
    shown = capsys.readouterr().out
    assert "You are outside.\n[reward 1; the episode ends: terminated]" in shown
    assert shown.endswith("won after 3 turns, return 1\n")


def test_input_may_be_piped(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.cli", "worlds", "play", "corridor", "num_doors=2"],
        input="?\n!\ngo left\n",
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "> go left\ngo right\n" in done.stdout and "this world has no expert" in done.stdout
    assert "left before the end\nnot won after 1 turns" in done.stdout


def test_check_runs_the_contract_and_ends_with_what_the_expert_solved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    checked = ["worlds", "check", f"{HERE}:FiniteWorld", f"log={log}", "--expert"]
    assert main(checked) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ok   train: any text gets an answer" in lines
    assert "ok   valid_seen: the expert's commands are understood" in lines
    assert "ok   closing it leaves nothing behind" in lines
    assert not [line for line in lines if line.startswith("FAIL")]
    assert lines[-1] == "solved 6/6"
    assert log.read_text().splitlines().count("closed") >= 3


def test_a_task_that_the_expert_does_not_solve_is_named_and_fails_the_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    checked = ["worlds", "check", f"{HERE}:FiniteWorld", "lost=1", "--expert"]
    assert main([*checked, "--split", "train", "--max-turns", "9"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "not solved: corridor/train/0: step_limit after 9 turns" in lines
    assert not [line for line in lines if "valid_seen" in line]
    assert lines[-1] == "solved 3/4"
    assert main([*checked, "--tasks", "1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "solved 0/2"


def test_a_broken_rule_fails_the_check_with_its_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["worlds", "check", f"{HERE}:ForgetfulWorld"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL train: any text gets an answer" in shown
    assert "step must answer any command" in shown
    assert "ok   train: envs share no state" in shown


def test_the_expert_plays_n_tasks_of_every_endless_split(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["worlds", "check", "household", *SMALL, "--expert", "--tasks", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "solved 15/15"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["play", "houshold"], "did you mean `household`?"),
        (["play", "household", "num_objcts=3"], "has no parameter `num_objcts`"),
        (["play", "household", "num_receptacles=-3"], "num_receptacles must be"),
        (["play", "household", "oops"], "a parameter of a world reads key=value, got 'oops'"),
        (["play", "corridor", "--task", "-1"], "--task must be >= 0, got -1"),
        (["play", "corridor", "--split", "test"], "got 'test'"),
        (["play", f"{HERE}:UnmadeWorld"], 'run: pip install "dyna-agents[x]"'),
        (["check", f"{HERE}:UnmadeWorld"], 'run: pip install "dyna-agents[x]"'),
        (["check", "nolab.worlds:Mine"], "there is no package `nolab`"),
        (["check", f"{HERE}:FiniteWorld", "--split", "test"], "must be one of train, valid_seen"),
        (["check", "household", "--tasks", "-1"], "--tasks must be >= 0, got -1"),
        (["check", "corridor", "--expert"], "the world `corridor` has no expert"),
        (["chek", "corridor"], "invalid choice: 'chek'"),
    ],
)
def test_a_mistake_is_refused_in_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["worlds", *arguments])
    except SystemExit as stopped:  # argparse ends the process itself
        status = stopped.code
    said = capsys.readouterr().err
    assert status == MISTAKE
    assert message in " ".join(said.split()) and "Traceback" not in said
