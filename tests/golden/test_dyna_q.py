"""The oracle of the architecture: numbers that only a change of the algorithm may change.

`python -m tests.golden.test_dyna_q` writes the file again; say in the change why it had to.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.golden.dyna_q import real_turns

GOLDEN = Path(__file__).with_name("dyna_q.json")
SEEDS = (0, 1, 2, 3)
IMAGINED = (0, 10, 50)
ROUNDS = 8


def measure() -> dict[str, object]:
    arms = {
        str(num): [list(real_turns(num_imagined=num, seed=seed, rounds=ROUNDS)) for seed in SEEDS]
        for num in IMAGINED
    }
    what = "real turns of each round, by imagined episodes per real one, seed by seed"
    return {"seeds": list(SEEDS), "rounds": ROUNDS, what: arms}


def test_dyna_q_gives_the_numbers_it_always_gave() -> None:
    assert measure() == json.loads(GOLDEN.read_text(encoding="utf-8"))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
