"""Collections: what is played follows from the config alone, and the files say what they hold."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from dyna.envs.corridor import CorridorEnv, CorridorWorld
from dyna.replay.parquet import (
    TrajectoryFileError,
    read_columns,
    read_notes,
    read_trajectories,
    write_trajectories,
)
from dyna.rollout import BrokenPolicyError
from dyna.types import Action, Context, Outcome, Task, Trajectory
from experiments.cli import FAILED, MISTAKE, main
from experiments.collect import collect
from experiments.collecting.config import CollectConfig, load_collect
from experiments.collecting.folder import MANIFEST_FILE, NOTE, collected

ROOT = Path(__file__).resolve().parents[3]
HOUSE = ("world.params.admissible=true", "world.max_turns=8", "episodes_per_part=8")
LEAKY = f"world.name={__name__}:LeakyWorld"


class LeakyWorld(CorridorWorld):
    """Its games are numbered, and those of `valid_seen` are the last ten of `train`."""

    @property
    def splits(self) -> Mapping[str, int | None]:
        return {"train": None, "valid_seen": None}

    def fingerprint(self, task: Task) -> str:
        return str(task.seed + (10 if task.split == "valid_seen" else 0))


class SlowWorld(CorridorWorld):
    """Answers after a while, and counts its resets in a file."""

    def __init__(self, *, log: str, step_s: float = 0.0) -> None:
        super().__init__(num_doors=3)
        self._log, self._step_s = log, step_s

    def make(self) -> SlowEnv:
        return SlowEnv(self.way, log=self._log, step_s=self._step_s)


class SlowEnv(CorridorEnv):
    def __init__(self, way: Sequence[str], *, log: str, step_s: float) -> None:
        super().__init__(way, max_turns=4)
        self._log, self._step_s = log, step_s

    async def step(self, action: Action) -> Outcome:
        await asyncio.sleep(self._step_s)
        with open(self._log, "a", encoding="utf-8") as file:
            file.write("step\n")
        return await super().step(action)


class BrokenPolicy:
    version = 0

    async def act(self, context: Context) -> Action:
        raise RuntimeError("no idea")


def gather(folder: Path, *changes: str) -> list[Trajectory]:
    collect(load_collect(overrides=changes), folder=folder)
    return list(collected(folder))


def data_of(folder: Path) -> dict[str, object]:
    """What a collection holds, but for when and how fast it was played."""
    names = ["task_fingerprint", "episode_seed"]
    found: dict[str, object] = {
        path.name: (read_trajectories(path), read_columns(path, names=names))
        for path in folder.glob("*.parquet")
    }
    for name in ("coverage.json", "ledger.json", "config.yaml"):
        found[name] = (folder / name).read_text()
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    del manifest["finished_at"]
    return {**found, "manifest": manifest}


def test_shares_are_kept_to_the_episode_and_provenance_is_in_every_file(tmp_path: Path) -> None:
    shares = ("shares.expert=1", "shares.random=2", "shares.invalid=1")
    played = gather(tmp_path, *HOUSE, *shares, "episodes=20", "seed=3", "name=mix")
    assert Counter(t.behavior for t in played) == {"expert": 5, "random": 10, "invalid": 5}
    assert [t.id for t in played] == [f"mix/train/{i:07d}" for i in range(20)]
    assert len({t.task.id for t in played}) == 20
    assert all(t.success for t in played if t.behavior == "expert" and len(t.turns) < 8)
    paths = sorted(tmp_path.glob("*.parquet"))
    assert [path.name for path in paths] == [f"train-0000{i}.parquet" for i in range(3)]
    for path in paths:
        note = json.loads(read_notes(path)[NOTE])
        assert (note["world"], note["seed"], note["split"]) == ("household", 3, "train")
        assert note["world_params"] == {"admissible": True}
        assert note["packages"]["numpy"] and note["written_at"] and note["seconds"] > 0
        for row in read_columns(path, names=["task_fingerprint", "episode_seed", "behavior"]):
            assert row["task_fingerprint"] and row["episode_seed"] > 0


def test_coverage_counts_what_the_files_hold(tmp_path: Path) -> None:
    played = gather(tmp_path, *HOUSE, "episodes=24", "episodes_per_task=3")
    rows = json.loads((tmp_path / "coverage.json").read_text())
    whole = rows[-1]
    assert (whole["behavior"], whole["family"]) == ("*", "*")
    turns = [turn for t in played for turn in t.turns]
    assert whole["episodes"] == 24 and whole["tasks"] == 8 and whole["steps"] == len(turns)
    assert whole["success"] == sum(t.success for t in played) / 24
    assert whole["commands"] == len({turn.action.command for turn in turns})
    assert whole["observations"] == len(
        {turn.outcome.observation for turn in turns} | {t.start.observation for t in played}
    )
    assert whole["invalid"] == sum(turn.outcome.valid is False for turn in turns) / len(turns)
    by = {row["behavior"]: row for row in rows if row["family"] == "*"}
    assert by["expert"]["invalid"] == 0 < by["invalid"]["invalid"]
    ledger = json.loads((tmp_path / "ledger.json").read_text())["tallies"]
    assert ledger["real"]["steps"] == len(turns) and ledger["real"]["episodes"] == 24
    assert ledger["demonstration"]["episodes"] == by["expert"]["episodes"]


def test_the_default_mix_is_what_the_world_allows(tmp_path: Path) -> None:
    # The household does not list its commands unless told to.
    played = gather(tmp_path / "unlisted", *HOUSE[1:], "episodes=20")
    assert {t.behavior for t in played} == {"expert", "noisy_expert", "invalid", "explorer"}
    played = gather(tmp_path / "corridor", "world.name=corridor", "world.max_turns=5", "episodes=9")
    assert {t.behavior for t in played} == {"random", "invalid"}


def test_splits_lie_in_files_of_their_own(tmp_path: Path) -> None:
    played = gather(tmp_path, *HOUSE, "episodes=4", "splits=[train, valid_unseen]")
    assert Counter(t.task.split for t in played) == {"train": 4, "valid_unseen": 4}
    names = sorted(path.name for path in tmp_path.glob("*.parquet"))
    assert names == ["train-00000.parquet", "valid_unseen-00000.parquet"]


def test_a_game_in_two_splits_is_refused_naming_both_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [LEAKY, "shares.random=1", "world.max_turns=3", "episodes=12"]
    out = ["--out", str(tmp_path / "both")]
    assert main(["collect", *settings, "splits=[train, valid_seen]", *out]) == MISTAKE
    said = " ".join(capsys.readouterr().err.split())
    assert "'corridor/valid_seen/0' (split 'valid_seen') is also that of task" in said
    assert "'corridor/train/10' (split 'train')" in said
    assert not (tmp_path / "both").exists()
    gather(tmp_path / "train", *settings)
    apart = [f"apart_from=[{tmp_path / 'train'}]", "splits=[valid_seen]"]
    assert main(["collect", *settings, *apart, *out]) == MISTAKE
    said = " ".join(capsys.readouterr().err.split())
    assert "'corridor/valid_seen/0'" in said and str(tmp_path / "train") in said
    assert main(["collect", *settings, *apart, "world.first_task=2", *out]) == 0


def start_collect(folder: Path, *settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", "collect", *settings, "--out", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_collection_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    folder, log = tmp_path / "killed", tmp_path / "log"
    changes = ["world.name=tests.unit.experiments.test_collect:SlowWorld", "shares.random=1"]
    changes += ["shares.invalid=1", "episodes=24", "episodes_per_part=4", "max_concurrent=1"]
    params = f"world.params={{log: {log}, step_s: 0.08}}"
    process = start_collect(folder, *changes, params)
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.parquet"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()
    kept = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    assert 2 <= len(kept) < 6 and not (folder / MANIFEST_FILE).exists()
    before = len(log.read_text().splitlines())
    # Continued by another number of workers: how it is played may change, what is played not.
    process = start_collect(folder, *changes, params, "max_concurrent=4")
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"kept {4 * len(kept)} episodes that are there already" in shown
    assert all((folder / name).read_bytes() == content for name, content in kept.items())
    undisturbed = tmp_path / "undisturbed"
    gather(undisturbed, *changes, params, "max_concurrent=4")
    assert data_of(folder) == data_of(undisturbed)
    whole = sum(len(t.turns) for t in collected(folder))
    spent = len(log.read_text().splitlines()) - whole  # of both, one of which was cut off
    assert spent - before <= whole - sum(
        len(t.turns) for name in kept for t in read_trajectories(folder / name)
    )


def test_a_finished_collection_is_not_played_again(tmp_path: Path) -> None:
    changes = [*HOUSE, "episodes=8"]
    gather(tmp_path, *changes)
    first = data_of(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    gather(tmp_path, *changes)
    assert data_of(tmp_path) == first
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}


def test_a_damaged_part_is_named_and_played_again_only_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, changes = tmp_path / "mix", [*HOUSE, "episodes=8", "episodes_per_part=4"]
    gather(folder, *changes)
    whole = data_of(folder)
    part = sorted(folder.glob("*.parquet"))[-1]
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(TrajectoryFileError, match=rf"{part.name} .*--skip-damaged"):
        gather(folder, *changes)

    target = tmp_path / "some.parquet"
    assert main(["export", str(folder), str(target)]) == 2
    assert part.name in capsys.readouterr().err and not target.exists()
    assert main(["export", str(folder), str(target), "--skip-damaged"]) == 0
    assert len(read_trajectories(target)) == 4
    assert f"{part.name}" in caplog.text and "1 of 2 parts were damaged" in caplog.text

    assert main(["collect", "--out", str(folder), *changes, "--skip-damaged"]) == 0
    assert data_of(folder) == whole
    assert part.with_name(f"{part.name}.damaged").exists()
    assert "1 damaged parts were put aside" in caplog.text


def test_the_policy_of_a_run_plays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.yaml").write_text(
        "name: tiny\nrounds: 1\n"
        "world: {name: corridor, params: {num_doors: 3}, max_turns: 60}\n"
        "policy: {name: tabular}\nworld_model: {name: tabular}\n"
        "real: {demonstrations: 0, explorations: 8, exploration: {name: random},"
        " episodes_per_round: 8}\n"
        "imagination: {episodes_per_round: 64, horizon: 8}\n"
        "evaluation: {num_tasks: 1, fidelity_episodes: 0}\n"
    )
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "tiny.yaml"), "--run", str(run)]) == 0
    capsys.readouterr()
    corridor = ["world.name=corridor", "world.params.num_doors=3", "world.max_turns=60"]
    changes = [*corridor, "shares.policy=1", "episodes=8"]
    learned = gather(tmp_path / "learned", *changes, f"run={run}")
    naive = gather(tmp_path / "naive", *changes, "policy.name=tabular")
    mean = [sum(len(t.turns) for t in played) / 8 for played in (learned, naive)]
    assert all(t.behavior == "policy" and t.success for t in learned)
    assert mean[0] < mean[1]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    bad = ["collect", *changes, f"run={tmp_path / 'empty'}", "--out", str(tmp_path / "no")]
    assert main(bad) == MISTAKE
    assert "has no whole checkpoint" in capsys.readouterr().err


def test_a_behavior_that_never_acts_ends_the_collection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = CollectConfig(
        world=load_collect(overrides=["world.name=corridor"]).world,
        shares={f"{__name__}:BrokenPolicy": 1.0},
        episodes=8,
    )
    with pytest.raises(BrokenPolicyError, match="no idea"):
        collect(broken, folder=tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["houshold"], "environments `houshold` is unknown; did you mean `household`?"),
        (["household", "corridor"], "one config or world at a time"),
        (["gone.yaml"], "there is no config gone.yaml"),
        (["household", "episods=3"], "unknown key `episods`; did you mean `episodes`?"),
        (["household", "episodes=0"], "episodes must be >= 1, got 0"),
        (["household", "shares.expert=-1"], "shares.expert must be >= 0, got -1"),
        (["household", "shares.expert=0"], "shares must give some behavior more than 0"),
        (["household", "shares.exprt=1"], "policies `exprt` is unknown; did you mean `expert`?"),
        (["household", "shares.random=1"], "it lists no admissible commands"),
        (["corridor", "shares.expert=1"], "it has no expert"),
        (["corridor", "shares.explorer=1"], "it has no explorer"),
        (["household", "splits=[test]"], "got 'test'"),
        (["household", "splits=[]"], "splits must name each split once"),
        (["household", "params.random.x=1", "shares.expert=1"], "`random` has no share"),
        (["household", "shares.invalid=1", "params.invalid.invlid=1"], "has no parameter `invlid`"),
        (["household", "world.params.num_receptacles=-1"], "num_receptacles must be"),
        (["household", "apart_from=[nowhere]"], "nowhere holds no collected episodes"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_in_one_sentence(
    settings: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["collect", *settings]) == MISTAKE
    said = capsys.readouterr().err
    assert message in " ".join(said.split()) and "Traceback" not in said
    assert not list(tmp_path.rglob("*.parquet"))


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def forge(path: Path) -> None:
    write_trajectories(path, read_trajectories(path)[:-1])


@pytest.mark.parametrize(
    ("damage", "changes", "message"),
    [
        (None, ["seed=1"], "begun with another config (seed was 0, is 1)"),
        (None, ["world.params.seed=1"], "begun with another config (world was"),
        (half, [], "is not a whole Parquet file"),
        (forge, [], "holds other episodes than this collection plans"),
        (lambda path: (path.parent / "config.yaml").unlink(), [], "but no config.yaml"),
        (
            lambda path: half(path.parent / "config.yaml"),
            [],
            "config.yaml, line 13: not valid YAML",
        ),
    ],
)
def test_a_folder_that_does_not_fit_is_named_with_the_remedy(
    damage: Callable[[Path], None] | None,
    changes: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = [*HOUSE, "shares.expert=1", "episodes=4"]
    gather(tmp_path / "out", *settings)
    if damage is not None:
        damage(tmp_path / "out" / "train-00000.parquet")
    assert main(["collect", *settings, *changes, "--out", str(tmp_path / "out")]) == MISTAKE
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_config_file_and_its_description_load_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["collect", "corridor", "shares.random=1", "seed=5", "--dry-run"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text(text)
    assert load_collect(tmp_path / "mine.yaml") == load_collect(
        overrides=["name=corridor", "world.name=corridor", "shares.random=1", "seed=5"]
    )
    assert "# Episodes of each split.\nepisodes: 1000\n" in text
    assert main(["collect", "mine.yaml", "episodes=2", "world.max_turns=2"]) == 0
    assert (tmp_path / "collections" / "corridor" / MANIFEST_FILE).is_file()


def test_exported_messages_and_parquet_load_as_datasets(tmp_path: Path) -> None:
    played = gather(tmp_path / "data", *HOUSE, "episodes=12", "splits=[train, valid_seen]")
    for name in ("chats.jsonl", "chats.json", "one.parquet"):
        assert main(["export", str(tmp_path / "data"), str(tmp_path / name)]) == 0
    assert main(["export", str(tmp_path / "chats.json"), str(tmp_path / "back.parquet"),
                 "--world", "household"]) == 0  # fmt: skip
    back = read_trajectories(tmp_path / "back.parquet")
    assert (
        [t.id for t in back]
        == [t.id for t in played]
        == [t.id for t in read_trajectories(tmp_path / "one.parquet")]
    )
    script = (
        "import sys; from datasets import load_dataset\n"
        "folder = sys.argv[1]\n"
        "for kind, files in (('parquet', {'train': 'data/train-*.parquet',"
        " 'valid': 'data/valid_seen-*.parquet'}), ('parquet', 'one.parquet'),"
        " ('json', 'chats.jsonl'), ('json', 'chats.json')):\n"
        "    paths = {k: f'{folder}/{v}' for k, v in files.items()} if isinstance(files, dict)"
        " else f'{folder}/{files}'\n"
        "    loaded = load_dataset(kind, data_files=paths)\n"
        "    row = loaded['train'][0]\n"
        "    text = row['turns'][0]['command'] if kind == 'parquet' else"
        " row['messages'][1]['content']\n"
        "    print(kind, *(f'{name}={part.num_rows}' for name, part in loaded.items()), text,"
        " sep='|')\n"
    )
    pytest.importorskip("datasets", reason="the dev extra is not installed")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = played[0].turns[0].action.command
    assert done.stdout.splitlines() == [
        f"parquet|train=12|valid=12|{said}",
        f"parquet|train=24|{said}",
        f"json|train=24|{said}",
        f"json|train=24|{said}",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone", "a.jsonl"], "there is nothing at gone"),
        ([".", "a.jsonl"], "holds no collected episodes"),
        ([".", "a.txt"], "must end in .json, .jsonl or .parquet"),
        (["cut.jsonl", "a.parquet"], "is not whole JSON"),
        (["cut.parquet", "a.json"], "is not a whole Parquet file"),
    ],
)
def test_an_export_that_cannot_be_made_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cut.jsonl", "cut.parquet"):
        (tmp_path / name).write_text('{"messages": [')
    assert main(["export", *arguments]) == MISTAKE != FAILED
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("a.*"))
