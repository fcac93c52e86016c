"""A run on RLlib that is saved in one process and goes on in another, to the last bit."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dyna.checkpoint import CheckpointError
from dyna.rllib import Dyna, DynaConfig
from tests.cluster.tiny_build import tiny_config

pytestmark = pytest.mark.ray

_GO_ON = """
import json, sys
from dyna.config import RuntimeConfig
from dyna.cluster.connection import connect
connect(RuntimeConfig(address=sys.argv[2]))
from dyna.rllib import Dyna
from tests.cluster.test_rllib_checkpoint import fingerprint
algorithm = Dyna.from_checkpoint(sys.argv[1])
algorithm.train()
print("RESULT" + json.dumps(fingerprint(algorithm)))
"""


def fingerprint(algorithm: Dyna) -> dict[str, Any]:
    """Everything that two equal runs share, down to the bits of the weights."""
    loop: Any = algorithm.run.loop
    digests = {}
    for role, published in algorithm.run.published.items():
        digest = hashlib.sha256()
        for name, tensor in sorted(published().tensors.items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
        digests[role] = digest.hexdigest()
    replayed = [t.id for t in loop.replay.trajectories()]
    steps = algorithm.run.loop.ledger.real_steps
    return {
        "weights": digests,
        "versions": [published().version for published in algorithm.run.published.values()],
        "replay": replayed,
        "real_steps": steps,
        "round": algorithm.round,
        "iteration": algorithm.iteration,
        "commands": [
            [turn.action.command for turn in t.turns] for t in loop.journal.played[algorithm.round]
        ],
    }


def test_another_process_goes_on_as_if_nothing_had_happened(
    local_ray: str, model_folder: str, tmp_path: Path
) -> None:
    config = tiny_config(model_folder)
    algorithm = Dyna(DynaConfig().dyna(run_config=config, build="tests.cluster.tiny_build"))
    with pytest.raises(ValueError, match="no state before the first round"):
        algorithm.save_to_path(tmp_path / "early")
    algorithm.train()
    algorithm.train()
    folder = algorithm.save_to_path(tmp_path / "saved")
    assert not [p for p in Path(folder).rglob("*") if p.suffix in {".pkl", ".pt", ".bin"}]
    algorithm.train()
    expected = json.loads(json.dumps(fingerprint(algorithm)))
    algorithm.stop()

    done = subprocess.run(
        [sys.executable, "-c", _GO_ON, folder, local_ray],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.partition("RESULT")[2])
    assert found == expected

    _damage(Path(folder))
    with pytest.raises((ValueError, CheckpointError), match="no whole checkpoint"):
        Dyna.from_checkpoint(folder)


def _damage(folder: Path) -> None:
    weights = next(folder.rglob("weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
