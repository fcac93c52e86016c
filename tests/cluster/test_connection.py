"""Connecting to Ray: a wrong address is told in time, and a Ray of our own is kept to ourselves."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator

import pytest

from tests.cluster.room import ROOT, Done, Room, room, why_not
from tests.cluster.test_job_submit import TINY

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

LOOPBACK = {"0100007F", "0" * 16 + "FFFF00000100007F", "0" * 24 + "01000000"}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with room(tmp_path_factory.mktemp("machine") / "room") as place:
        place.run("ip", "address", "add", "10.0.0.1/24", "dev", "lo")
        yield place


def train(place: Room, *settings: str) -> Done:
    command = ("python", "-m", "experiments.train", *TINY, *settings)
    return place.run(*command, cwd=ROOT, seconds=240)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("auto", "no Ray cluster answered at runtime.address='auto'"),
        ("127.0.0.1:6399", "nobody listens at runtime.address='127.0.0.1:6399'"),
        ("ray://10.0.0.1:10001", "nobody listens at runtime.address='ray://10.0.0.1:10001'"),
    ],
)
def test_a_wrong_address_is_told_at_once(machine: Room, address: str, told: str) -> None:
    began = time.monotonic()
    said = train(machine, f"runtime.address={address}")
    assert said.code == 1 and told in said.said and "ray start --head" in said.said, said.said
    assert "Traceback" not in said.said and time.monotonic() - began < 60


def test_a_port_of_another_program_is_no_cluster_and_no_place_for_one(machine: Room) -> None:
    other = machine.start(
        "python", "-m", "http.server", "6399", "--bind", "10.0.0.1", log=machine.folder / "http.log"
    )
    while not machine.listeners():
        assert other.poll() is None
    try:
        began = time.monotonic()
        said = train(machine, "runtime.address=10.0.0.1:6399")
        assert said.code == 1 and "no Ray cluster answered at" in said.said, said.said
        assert "Traceback" not in said.said
        # Forty seconds of Ray's, and what a busy machine takes to import it; not Ray's own quarter
        # of an hour.
        assert time.monotonic() - began < 200
        head = machine.run("ray", "start", "--head", "--port=6399", "--node-ip-address=10.0.0.1")
        assert head.code != 0 and "6399" in head.said, head.said
    finally:
        machine.run("pkill", "-f", "http.server")
        machine.run("ray", "stop", "--force")
        other.wait(timeout=30)


def test_a_ray_of_our_own_is_kept_to_loopback_and_leaves_nothing(machine: Room) -> None:
    log = machine.folder / "run.log"
    local = ("runtime.address=''", "runtime.num_env_runners=1", "rounds=3")
    run = machine.start(
        "env", "-C", ROOT, "python", "-m", "experiments.train", *TINY, *local, log=log
    )
    seen: set[str] = set()
    while run.poll() is None:
        seen |= machine.listeners()
        time.sleep(0.5)
    assert run.returncode == 0, log.read_text()
    assert seen and seen <= LOOPBACK
    token = machine.home / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600 and len(token.read_text()) == 64
    assert "Token authentication" not in log.read_text()
    for _ in range(20):
        if not machine.processes():
            break
        time.sleep(0.5)
    assert machine.processes() == []
    assert len(list((machine.home / "runs").glob("*/report.html"))) == 1
