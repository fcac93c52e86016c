"""The buffer's weight, measured on a process of its own and not believed."""

import json
import subprocess
import sys

import pytest

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
