"""Several Ray nodes on this machine, and their deaths."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dyna.cluster.connection import MIN_OBJECT_STORE_BYTES
from experiments.chaos.processes import below, listed, send

ROOM_CPUS = 8
"""Of every node but the head, which has room for no actor."""


class Nodes:
    """A head, and nodes that come and go. Everything listens on loopback only."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._rooms: list[Any] = []

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self) -> None:
        """One more node, with room for a whole run."""
        self._rooms.append(self._cluster.add_node(num_cpus=ROOM_CPUS, **_STORE))

    def kill(self, title: str) -> int:
        """Kill, all at once, the processes of a node on which an actor called `title` lives.

        Returns how many they were.
        """
        for node in self._rooms:
            among = listed()
            raylets = [info.process.pid for info in node.all_processes["raylet"]]
            living = below(raylets, among=among)
            if not any(process.title.startswith(f"ray::{title}") for process in living):
                continue
            pids = [*raylets, *(process.pid for process in living)]
            send(signal.SIGKILL, pids=pids)
            self._rooms.remove(node)
            # A raylet that nobody has waited for looks alive to those who ask by its number.
            self._cluster.remove_node(node, allow_graceful=False)
            return len(pids)
        raise RuntimeError(f"no {title} lives on any node")

    def actors_left(self, *, seconds: float) -> list[str]:
        """The actors that this cluster still has, named or not; they are given `seconds` to end."""
        deadline = time.monotonic() + seconds
        while (found := self._actors()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def _actors(self) -> list[str]:
        everybody: dict[str, Any] = self._cluster.global_state.actor_table(None)
        alive = [actor for actor in everybody.values() if actor["State"] != "DEAD"]
        return [f"{actor['ActorClassName']} {actor['Name']}".strip() for actor in alive]


_STORE = {"object_store_memory": MIN_OBJECT_STORE_BYTES}


@contextmanager
def nodes(*, num: int, spill_to: Path) -> Iterator[Nodes]:
    """A cluster of a head and `num` nodes; what does not fit into memory goes to `spill_to`."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            "object_spilling_directory": str(spill_to),
            **_STORE,
        },
    )
    try:
        made = Nodes(cluster)
        for _ in range(num):
            made.add()
        yield made
    finally:
        cluster.shutdown()


def fill_store(address: str) -> None:
    """Put objects until the store is full twice over, drop them, and begin again, until killed."""
    import numpy as np
    import ray

    ray.init(address=address, log_to_driver=False)
    piece = np.ones(MIN_OBJECT_STORE_BYTES // 8, dtype=np.uint8)
    while True:
        held = [ray.put(piece) for _ in range(16)]
        time.sleep(0.5)
        del held
