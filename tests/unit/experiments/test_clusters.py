"""The cluster files that ship: what Ray itself reads of them, and what they must not forget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.kuberay.autoscaling_config import (
    _derive_autoscaling_config_from_ray_cr,
)
from ray.autoscaler._private.util import prepare_config, validate_config

from dyna.siblings import SIBLINGS

FOLDER = Path(__file__).resolve().parents[3] / "experiments" / "clusters"
LAUNCHED = ("local", "aws", "gcp")


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LAUNCHED)
def test_rays_schema_takes_the_file_and_would_refuse_another(name: str) -> None:
    config = prepare_config(read(name))
    validate_config(config)
    kinds = config["available_node_types"]
    assert config["head_node_type"] in kinds
    assert sum(kind["max_workers"] for kind in kinds.values()) >= 2
    with pytest.raises(ValidationError, match="no_such_key"):
        validate_config(config | {"no_such_key": 1})


@pytest.mark.parametrize("name", LAUNCHED)
def test_a_file_brings_the_packages_under_a_hyphen_and_the_token_for_its_owner(name: str) -> None:
    config = read(name)
    mounts = config["file_mounts"]
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert {mounts[f"~/dyna-agents/{package}"] for package in SIBLINGS} == set(SIBLINGS)
    root = FOLDER.parent.parent
    assert [
        path for path in mounts.values() if "~" not in path and not (root / path).exists()
    ] == []
    kinds = config.get("available_node_types", {}).values()
    own = [kind["worker_setup_commands"] for kind in kinds if "worker_setup_commands" in kind]
    lists = [config["setup_commands"], *own]
    for commands in lists:
        said = "\n".join(commands)
        assert "chmod 600 ~/.ray/auth_token" in said and "RAY_AUTH_MODE=token" in said
        assert "-c constraints.txt" in said and "OMP_NUM_THREADS=1" in said
    assert all("--dashboard-host" not in line for line in config["head_start_ray_commands"])


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_clouds_have_nodes_of_eight_gpus_with_vllm(name: str) -> None:
    kinds = read(name)["available_node_types"]
    gpus = [kind for kind in kinds.values() if kind["resources"].get("GPU") == 8]
    assert len(gpus) == 1 and "[vllm]" in "\n".join(gpus[0]["worker_setup_commands"])


def test_ray_reads_what_kuberay_is_given() -> None:
    job = read("kuberay")
    assert job["kind"] == "RayJob" and job["spec"]["rayClusterSpec"]["authOptions"] == {
        "mode": "token"
    }
    cluster = {
        "metadata": {"name": "dyna", "namespace": "default"},
        "spec": job["spec"]["rayClusterSpec"],
    }
    derived = _derive_autoscaling_config_from_ray_cr(cluster)
    validate_config(derived)
    kinds = derived["available_node_types"]
    assert kinds["gpus"]["resources"]["GPU"] == 8 and kinds["gpus"]["max_workers"] == 2
    assert kinds["headgroup"]["resources"]["CPU"] == 4
    assert "python -m experiments.train" in job["spec"]["entrypoint"]


def test_the_entrypoints_config_ships() -> None:
    from experiments.usage import shipped_configs

    assert "alfworld_qwen2.5-7b" in shipped_configs()
