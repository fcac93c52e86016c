"""One Ray for all tests on actors, on loopback, and the smallest language model they can share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dyna.cluster.connection import connect, disconnect
from dyna.config import RuntimeConfig
from dyna.testing import byte_tokenizer, tiny_model

# Read when Ray is imported, which test modules do before any fixture runs. Ray makes its workers
# yield to everything else; beside other work on two cores they would start for minutes.
os.environ |= {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_worker_niceness": "0",
}


_NUM_STARTS = 4
"""On a busy machine Ray's own agent may miss its fixed 15 seconds, and takes the node with it."""


@pytest.fixture(scope="module")
def local_ray() -> Iterator[str]:
    """The address of the cluster, which all modules share but for those that end it."""
    import ray

    for attempt in range(_NUM_STARTS):
        try:
            connect(RuntimeConfig(), num_cpus=8)
            break
        except Exception:
            if attempt == _NUM_STARTS - 1:
                raise
            disconnect()

    yield ray.get_runtime_context().gcs_address


@pytest.fixture(scope="session", autouse=True)
def end_of_ray() -> Iterator[None]:
    yield
    disconnect()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("model")
    tokenizer = byte_tokenizer()
    model = tiny_model(len(tokenizer), hidden_size=32, num_layers=1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
