"""`python -m experiments.bench.weight_push`: new weights for four engine actors, by one copy.

A model of 50 million parameters goes from the driver to engine actors that hold it; the clock runs
from the call until every actor answers with the new version. What Ray's object store holds before
and after says how many copies were made. A push from GPU to GPU is not measured here.
"""

# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from rich.console import Console
from transformers import Qwen2Config, Qwen2ForCausalLM

from dyna.cluster.connection import connect, disconnect
from dyna.config import Backend, EngineConfig, ModelConfig, RunConfig, RuntimeConfig
from dyna.samples import byte_tokenizer

GOAL_S = 1.0
_HIDDEN_SIZE = 512
_LAYER_PARAMETERS = 4 * _HIDDEN_SIZE**2 + 3 * _HIDDEN_SIZE * 4 * _HIDDEN_SIZE
_SETTLE_S = 10.0
"""Ray counts the bytes of its object store about once a second."""


def bench_weight_push(
    *, num_actors: int = 4, num_parameters: int = 50_000_000, num_pushes: int = 7
) -> dict[str, float]:
    """`weight_push_s`, the median, and `copies`: object store bytes over those of the weights."""
    with tempfile.TemporaryDirectory() as folder:
        model = _make_model(folder, num_parameters=num_parameters)
        config = RunConfig(
            name="weight-push",
            engine=EngineConfig(num_actors=num_actors, max_batch=1),
            runtime=RuntimeConfig(backend=Backend.RLLIB),
        )
        config = replace(
            config,
            policy=replace(config.policy, model=ModelConfig(path=folder, max_context=64)),
        )
        weights = model.state_dict()
        # Two pushes are there at once: the old one goes when the new one has arrived.
        store = 4 * sum(tensor.nbytes for tensor in weights.values()) + 2**28
        started = connect(config.runtime, engine=config.engine, object_store_bytes=store)
        try:
            found = _measure(config, weights=weights, num_pushes=num_pushes)
        finally:
            if started:
                disconnect()
    return {"num_parameters": float(model.num_parameters()), "num_actors": num_actors} | found


def _measure(
    config: RunConfig, *, weights: dict[str, torch.Tensor], num_pushes: int
) -> dict[str, float]:
    # Ray is imported once its environment is set.
    from dyna.cluster.engine_pool import EnginePool
    from dyna.cluster.parcels import num_bytes, pack

    pool = EnginePool(config, models={"policy": config.policy.model})
    try:
        before = _store_bytes()
        size = num_bytes(pack(weights))
        seconds: list[float] = []
        for version in range(1, num_pushes + 1):
            began = time.perf_counter()
            pool.push("policy", weights, version)
            seconds.append(time.perf_counter() - began)
            versions = {status.versions["policy"] for status in pool.statuses().values()}
            if versions != {version}:
                raise RuntimeError(f"after push {version} the actors hold {sorted(versions)}")
        held = _settled(lambda: _store_bytes() - before, expected=size)
    finally:
        pool.close()
    return {
        "weight_push_s": statistics.median(seconds),
        "slowest_s": max(seconds),
        "weight_bytes": float(size),
        "object_store_bytes": float(held),
        "copies": held / size,
    }


def _make_model(folder: str, *, num_parameters: int) -> Qwen2ForCausalLM:
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=_HIDDEN_SIZE,
            intermediate_size=4 * _HIDDEN_SIZE,
            num_hidden_layers=max(1, round(num_parameters / _LAYER_PARAMETERS)),
            num_attention_heads=8,
            num_key_value_heads=8,
            max_position_embeddings=64,
            tie_word_embeddings=True,
            pad_token_id=0,
        )
    ).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def _store_bytes() -> int:
    """What lies in the object stores of all nodes."""
    import ray

    used = ray.cluster_resources()["object_store_memory"]
    return int(used - ray.available_resources()["object_store_memory"])


def _settled(read: Callable[[], int], *, expected: int) -> int:
    """The value, once pushes that are no longer needed have been dropped."""
    deadline = time.monotonic() + _SETTLE_S
    value = read()
    while value > 1.5 * expected and time.monotonic() < deadline:
        time.sleep(0.5)
        value = read()
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--parameters", type=int, default=50_000_000)
    parser.add_argument("--pushes", type=int, default=7)
    given = parser.parse_args()
    found = bench_weight_push(
        num_actors=given.actors, num_parameters=given.parameters, num_pushes=given.pushes
    )
    Console().print_json(data=found)


if __name__ == "__main__":
    main()
