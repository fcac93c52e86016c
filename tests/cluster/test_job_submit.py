"""`ray job submit` of a checkout to a cluster with a token, and what that token keeps out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.room import ROOT, Room, room, why_not

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

TINY = (
    "household", "rounds=1", "world.max_turns=4", "real.demonstrations=2", "real.explorations=2",
    "real.episodes_per_round=2", "imagination.episodes_per_round=4", "imagination.group_size=1",
    "imagination.batches_per_round=1", "imagination.horizon=3", "policy_learner.imitation_epochs=1",
    "policy_learner.epochs=1", "world_model_learner.first_epochs=1", "world_model_learner.epochs=1",
    "evaluation.num_tasks=2", "evaluation.fidelity_episodes=2",
)  # fmt: skip
"""A real run of seconds."""
LEFT_HERE = (".venv/lib/torch.so", "runs/old/weights", ".git/objects/pack", "data/games.zip")
"""What is too large or too private to be sent with a job."""
DASHBOARD = "http://127.0.0.1:8265"
SUBMIT = ("ray", "job", "submit", "--address", DASHBOARD, "--working-dir")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A head node with tokens and dashboard."""
    with room(tmp_path_factory.mktemp("jobs") / "room") as place:
        token = place.home / ".ray" / "auth_token"
        token.parent.mkdir()
        token.touch(mode=0o600)
        token.write_text("5" * 64)
        place.environment["RAY_AUTH_MODE"] = "token"
        start = (
            "ray", "start", "--head", "--node-ip-address=127.0.0.1", "--port=6379", "--num-cpus=4",
            "--object-store-memory=100000000", "--include-dashboard=true",
        )  # fmt: skip
        started = place.run(*start)
        while started.code != 0 and "timed out during startup" in started.said:
            # On a busy machine Ray's own agent may miss its fixed seconds.
            place.run("ray", "stop", "--force")
            started = place.run(*start)
        assert started.code == 0, started.said
        yield place


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows of this checkout, and beside it what must not be sent."""
    folder = tmp_path_factory.mktemp("checkout") / "dyna-agents"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name in LEFT_HERE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0" * 30 * 2**20)
    return folder


def test_a_checkout_is_trained_as_a_job_and_its_results_stay(cluster: Room, checkout: Path) -> None:
    # A world that only this folder holds: every worker must find it there.
    (checkout / "my_lab.py").write_text(
        "from dyna.envs.household import HouseholdWorld\n\n\nclass Lab(HouseholdWorld):\n    pass\n"
    )
    job = cluster.run(
        *SUBMIT, ".", "--", "python", "-m", "experiments.train", *TINY,
        "world.name=my_lab:Lab", "runtime.num_env_runners=1", seconds=240, cwd=checkout,
    )  # fmt: skip
    assert job.code == 0 and "succeeded" in job.said, job.said
    sent = cluster.run("bash", "-c", "cd /tmp/ray/session_latest/runtime_resources; du -am").said
    assert "my_lab.py" in sent and "experiments/train.py" in sent, sent
    assert not [name for name in LEFT_HERE if name in sent], sent
    assert int(sent.splitlines()[-1].split()[0]) < 20, "MiB"
    folder = cluster.home / "runs" / "household-001"
    assert f"report: {folder}/report.html" in job.said
    assert (folder / "report.html").is_file()
    rounds = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [entry["round"] for entry in rounds] == [0, 1]
    assert "num_env_runners: 1" in (folder / "config.yaml").read_text()


def test_a_job_ends_with_the_status_of_its_run(cluster: Room, checkout: Path) -> None:
    job = cluster.run(
        *SUBMIT, ".", "--", "python", "-m", "experiments.train", "household", "roundz=1",
        cwd=checkout,
    )  # fmt: skip
    assert job.code != 0 and "did you mean `rounds`?" in job.said, job.said


@pytest.mark.parametrize(
    "stranger", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": "a" * 64}], ids=["none", "wrong"]
)
def test_who_lacks_the_token_is_kept_out(cluster: Room, stranger: dict[str, str]) -> None:
    hurried = stranger | {"RAY_gcs_server_port_wait_time_s": "2"}  # instead of twenty seconds
    jobs = cluster.run("ray", "job", "list", f"--address={DASHBOARD}", environment=hurried)
    assert jobs.code != 0 and "AuthenticationError" in jobs.said, jobs.said
    node = cluster.run(
        "ray", "start", "--address=127.0.0.1:6379", "--num-cpus=1",
        "--object-store-memory=100000000", environment=hurried,
    )  # fmt: skip
    assert node.code != 0 and "AuthenticationError" in node.said, node.said
    driver = cluster.run("python", "-m", "experiments.train", *TINY, environment=hurried, cwd=ROOT)
    assert driver.code == 1 and "refused this machine's token" in driver.said, driver.said
    assert "~/.ray/auth_token" in driver.said and "Traceback" not in driver.said


def test_the_dashboard_wants_the_token(cluster: Room) -> None:
    ask = (
        "import sys, urllib.request as r, urllib.error as e\n"
        "for path in ('/api/jobs/', '/api/version', '/nodes?view=summary'):\n"
        "    headers = dict(text.split(':') for text in sys.argv[1:])\n"
        f"    q = r.Request({DASHBOARD!r} + path, headers=headers)\n"
        "    try: print(r.urlopen(q).status)\n"
        "    except e.HTTPError as error: print(error.code)\n"
    )
    assert cluster.run("python", "-c", ask).said.split() == ["401"] * 3
    right = "Authorization:Bearer " + "5" * 64
    assert cluster.run("python", "-c", ask, right).said.split() == ["200"] * 3
