"""`ray up`, `ray submit` and `ray down` with the shipped cluster file, over ssh, in one room."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.room import ROOT, Room, room, why_not
from tests.cluster.test_job_submit import TINY

PROGRAMS = ("sshd", "ssh", "ssh-keygen", "rsync")
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(why_not(*PROGRAMS)), reason=why_not(*PROGRAMS)),
]

SHIPPED = ROOT / "experiments" / "clusters" / "local.yaml"
HEAD, WORKER = "10.0.0.1", "10.0.0.2"
SSHD = """
Port 22
ListenAddress {head}
ListenAddress {worker}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """What is typed on the laptop, which stands in the same room as the cluster's machines."""

    room: Room
    file: Path

    def ray(self, command: str, *arguments: str | Path, seconds: float = 240) -> tuple[int, str]:
        done = self.room.run(
            "ray", command, *arguments, seconds=seconds, cwd=ROOT,
            environment={"RAY_UP_enable_autoscaler_v2": "0"},
        )  # fmt: skip
        # A terminal is asked for, so a path is colored.
        return done.code, re.sub(r"\x1b\[[\d;]*m", "", done.said)


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    folder = tmp_path_factory.mktemp("launch")
    with room(folder / "room") as place:
        for address in (HEAD, WORKER):
            place.run("ip", "address", "add", f"{address}/24", "dev", "lo")
        for name in ("host_key", "client_key"):
            place.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
        (folder / "sshd_config").write_text(SSHD.format(head=HEAD, worker=WORKER, folder=folder))
        sshd = shutil.which("sshd", path=place.environment["PATH"])
        assert sshd and place.run(sshd, "-f", folder / "sshd_config").code == 0
        token = place.home / ".ray" / "auth_token"
        token.parent.mkdir()
        token.write_text("7" * 64)
        token.chmod(0o600)
        _prepare_venv(place.home)
        file = folder / "local.yaml"
        file.write_text(yaml.safe_dump(rendered(folder)))
        yield Launcher(room=place, file=file)


def rendered(folder: Path) -> dict[str, Any]:
    """The shipped file with our addresses and keys; two machines in one need what real ones do not:
    each its own address, and no `ray stop`, which would stop the other."""
    config = yaml.safe_load(SHIPPED.read_text())
    config["provider"] |= {"head_ip": HEAD, "worker_ips": [WORKER]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "client_key")}
    for name, address in (("head", HEAD), ("worker", WORKER)):
        stop, start = config[f"{name}_start_ray_commands"]
        assert stop == "ray stop"
        own = f" --node-ip-address={address} --num-cpus=2 --object-store-memory=100000000"
        config[f"{name}_start_ray_commands"] = [start + own]
    return config


def test_up_submit_and_down(launcher: Launcher) -> None:
    code, said = launcher.ray("up", "-y", "--no-config-cache", launcher.file)
    assert code == 0, said
    home = launcher.room.home
    assert stat.S_IMODE((home / ".ray" / "auth_token").stat().st_mode) == 0o600
    _wait_for_nodes(launcher, number=2)

    code, said = launcher.ray(
        "submit", "--no-config-cache", launcher.file, "experiments/train.py",
        "--", *TINY, "runtime.num_env_runners=2",
    )  # fmt: skip
    assert code == 0, said
    assert f"report: {home}/runs/household-001/report.html" in said
    lines = (home / "runs" / "household-001" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [0, 1]
    # The script was copied alone, and what it ran is what the set-up installed.
    assert (home / "train.py").is_file() and not (home / "experiments").exists()

    code, said = launcher.ray("down", "-y", launcher.file)
    assert code == 0, said
    # ssh keeps its connections for a few seconds more.
    left = [line for line in launcher.room.processes() if "ssh" not in line.split()[0]]
    assert left == []


def _prepare_venv(home: Path) -> None:
    """The environment that the set-up installs into: there is no network, so it already sees the
    packages of this one, and pip is told to install nothing but the checkout."""
    venv = home / "dyna-venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next((venv / "lib").glob("python3.*")) / "site-packages"
    (packages / "packages_of_this_machine.pth").write_text(sysconfig.get_path("purelib") + "\n")
    ray = venv / "bin" / "ray"
    ray.write_text(f"#!{venv}/bin/python\nfrom ray.scripts.scripts import main\nmain()\n")
    ray.chmod(0o755)
    only_ours = "PIP_NO_INDEX=1 PIP_NO_DEPS=1 PIP_NO_BUILD_ISOLATION=0 PIP_ROOT_USER_ACTION=ignore"
    (home / ".bashrc").write_text(
        f"export {only_ours} RAY_DISABLE_USAGE_STATS=1 RAY_worker_niceness=0\n"
    )
    (home / ".bash_profile").write_text(". ~/.bashrc\n")


def _wait_for_nodes(launcher: Launcher, *, number: int) -> None:
    """Until the autoscaler has brought them all, by ssh, one after the other."""
    count = "import ray; ray.init('auto', log_to_driver=False); print('alive', len(ray.nodes()))"
    for _ in range(20):
        _, said = launcher.ray("exec", "--no-config-cache", launcher.file, f'python -c "{count}"')
        if f"alive {number}" in said:
            return
    log = "/tmp/ray/session_latest/logs/monitor.out"
    raise AssertionError(launcher.room.run("tail", "-n", "50", log).said + said)
