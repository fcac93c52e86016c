"""The buffer's weight, measured on a process of its own and not believed."""

import gc
import json
import math
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from dyna.plugins import BUILT_IN, resolve
from dyna.protocols import HasExperiences, HasGradients, HasScores, HasTargets
from dyna.replay.buffer import TrajectoryBuffer
from dyna.types import SoftTargets
from tests.unit.dyna.replay.strategies import episode

_PROGRAM = """
import gc, json, random, sys, time
from dyna.replay import {name}
from dyna.types import Action, Outcome, Start, StopReason, Task, Trajectory, Turn

rng = random.Random(0)

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def turn(k):
    a, b = rng.randrange(40), rng.randrange(9)
    tokens = tuple(rng.randrange(4000) for _ in range(8))
    return Turn(
        action=Action(
            command=f"go to shelf {{a}}",
            text=f"go to shelf {{a}}",
            token_ids=tokens,
            log_probs=tuple(-rng.random() for _ in range(8)),
        ),
        outcome=Outcome(
            observation=f"You arrive at shelf {{a}}. On the shelf {{a}}, you see a mug {{b}}.",
            admissible=tuple(f"go to shelf {{i}}" for i in range(20)),
            valid=True,
        ),
    )

def episode(i):
    return Trajectory(
        id=f"real/{{i}}",
        task=Task(id=f"t/{{i}}", world="w", family=f"f{{i % 6}}", split="train", seed=i),
        start=Start(observation="You are in a room. " * 8, hidden_state="It is shut. " * 70),
        turns=tuple(turn(k) for k in range(20)),
        stop=StopReason.TERMINATED,
    )

templates = [episode(i) for i in range(250)]
buffer = {name}(max_transitions=100_000, seed=0)
before = resident()
start = time.perf_counter()
for i in range(5_000):
    buffer.add(templates[i % 250])
insert_s = time.perf_counter() - start
full = resident()
num_bytes = buffer.num_bytes
for r in range(20):
    buffer.add(templates[r]); buffer.sample(200)
warm = resident()
start, sampled = time.perf_counter(), 0
for r in range(200):
    for i in range(5):
        buffer.add(templates[(5 * r + i) % 250])
    sampled += sum(len(t.turns) for t in buffer.sample(200))
sample_s = time.perf_counter() - start
print(json.dumps(dict(
    grown=full - before, num_bytes=num_bytes, after_rounds=resident() - warm, held=len(buffer),
    insert_per_s=100_000 / insert_s, mixed_per_s=(sampled + 20_000) / sample_s,
)))
"""


@pytest.mark.parametrize("name", ["FifoBuffer", "TaskBalancedBuffer"])
def test_a_buffer_of_100k_transitions_is_light_and_does_not_grow(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(name=name)],
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(run.stdout)
    assert measured["held"] == 100_000
    assert measured["grown"] < 200 * 2**20, measured
    assert 0.8 < measured["grown"] / measured["num_bytes"] < 1.3, measured
    assert measured["after_rounds"] < 4 * 2**20, measured


def tell(buffer: Any, names: Sequence[str]) -> None:
    """All that a buffer may hear of a model, of the size it has in a run."""
    if isinstance(buffer, HasScores):
        buffer.note_scores({name: 0.1 + len(name) for name in names})
    if isinstance(buffer, HasGradients):
        sketches = {
            name: [math.cos((k + 1) * (1 + int(name))) for k in range(buffer.sketch_size)]
            for name in names
        }
        buffer.note_gradients(sketches)
    if isinstance(buffer, HasTargets):
        for name in names:
            ids, log_probs = tuple(range(480)), tuple(-0.01 * k for k in range(480))
            targets = SoftTargets(top_k=8, token_ids=ids, log_probs=log_probs)
            buffer.note_targets({name: targets})


@pytest.mark.parametrize("name", sorted(BUILT_IN["replay_buffers"]))
def test_what_python_allocates_is_what_a_buffer_counts(name: str) -> None:
    """Every strategy, told all that it asks for, over several times what fits: its count is no
    less than what it takes, and not many times more in episodes so short that books weigh most.
    """
    limit = 200_000
    gc.collect()
    tracemalloc.start()
    try:
        buffer: TrajectoryBuffer = resolve("replay_buffers", name)(
            max_transitions=10**6, max_bytes=limit, seed=0
        )
        before = tracemalloc.get_traced_memory()[0]
        for first in range(0, 1000, 50):
            if isinstance(buffer, HasExperiences) and first % 200 == 0:
                buffer.begin_experience(str(first))
            names = [str(number) for number in range(first, first + 50)]
            for number, one in enumerate(names):
                buffer.add(episode(one, num_turns=1 + number % 9, family=str(number % 3)))
            tell(buffer, names)
            buffer.sample(50)
            assert buffer.num_bytes <= limit
        del names
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert buffer.num_bytes > 0.75 * limit
    assert 0.4 * buffer.num_bytes < taken <= limit, taken
