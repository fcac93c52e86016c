"""A synthetic run folder: invented but plausible numbers, in the layout that a run leaves behind.

It is data for the report's tests and for nothing else; no figure in it was measured.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'> & \"q\""
)
"""What a policy or a world might say to break out of the page."""


def write_run(folder: Path, *, rounds: int = 6, hostile: str = "") -> Path:
    """Write every file of a run; `hostile` is put wherever text from a run can appear."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"round": i, "metrics": round_metrics(i)}) for i in range(rounds + 1)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(f"name: household\nseed: 0\nnote: '{hostile}'\n" * 3)
    pairs = [_pair(i, hostile=hostile) for i in range(12)]
    (folder / "episodes.json").write_text(json.dumps(pairs))
    (folder / "evaluation.json").write_text(json.dumps(evaluation(hostile=hostile)))
    return folder


def round_metrics(index: int) -> dict[str, float | None]:
    real = 0.28 + 0.42 * (1 - math.exp(-index / 2.2))
    imagined = min(0.97, real + 0.19 * math.exp(-index / 2.5) + 0.02)
    em = 0.985 - 0.075 * math.exp(-index / 1.8)
    kinds = {
        "go to": 0.012,
        "open": 0.02,
        "take": 0.05,
        "move": 0.07,
        "heat": 0.09,
        "examine": 0.15,
    }
    metrics: dict[str, float | None] = {
        "eval/real_success": real,
        "eval/real_success_low": real - 0.115,
        "eval/real_success_high": real + 0.11,
        "eval/imagined_success": imagined,
        "eval/imagined_success_low": imagined - 0.11,
        "eval/imagined_success_high": min(1.0, imagined + 0.09),
        "eval/exploitation_gap": imagined - real,
        "ledger/real_steps": 1730 + 402 * index,
        "ledger/real_episodes": 160 + 32 * index,
        "ledger/real_resets": 160 + 32 * index,
        "ledger/imagined_steps": 6100 * index,
        "ledger/imagined_answer_tokens": 128_000 * index,
        "model/em": em,
        "model/em_valid": em + 0.008,
        "model/em_invalid": em - 0.05,
        "model/win_precision": 0.995 - 0.08 * math.exp(-index),
        "model/win_recall": 0.96 - 0.2 * math.exp(-index / 1.5),
        "model/gate_accepted": 0.0 if index == 3 else 1.0,
        "policy/entropy": None,
        "ledger/demonstration_steps": 410,
        "ledger/evaluation_steps": 700 * (index + 1),
        "time/act_s": 1.9 + 0.4 * index,
        "time/model_s": 38.0 + 6.5 * index,
        "time/evaluate_s": 4.2 + 4.4 * index,
        "time/imitate_s": 14.0,
        "time/real_s_per_step": 0.0011,
    }
    metrics |= {
        f"model/em_kind/{kind}": 1 - share * math.exp(-index / 4) for kind, share in kinds.items()
    }
    metrics |= {f"model/em_depth/{depth}": em - 0.004 * depth**1.15 for depth in range(1, 16)}
    metrics["real/success"] = real - 0.06
    if index:
        metrics |= {
            "time/imagine_s": 17.5 * index,
            "time/improve_s": 11.2 * index,
            "imagined/success": imagined - 0.04,
            "imagined/untrusted": 0.06 / index,
            "imagined/unparseable": 0.011 / index,
            "imagined/invalid_actions": 0.21 / index**0.5,
        }
    return metrics


def _turn(action: str, observation: str, **more: Any) -> dict[str, Any]:
    return {
        "action": action,
        "observation": observation,
        "reward": 0.0,
        "terminated": False,
        "success": False,
    } | more


def _dreamt(turn: dict[str, Any], **more: Any) -> dict[str, Any]:
    known = {"confidence": 0.98, "truth": turn["observation"], "wrong": False}
    return turn | known | more


def _pair(index: int, *, hostile: str) -> dict[str, Any]:
    goal = [
        "put a clean mug in shelf",
        "put two soapbars in cabinet",
        "look at book under the desklamp",
    ]
    drawer = f"drawer {1 + index % 4}"
    real = [
        _turn(
            "go to countertop 1", f"On the countertop 1, you see a mug 1, and a knife 2. {hostile}"
        ),
        _turn(
            f"take mug 1 from countertop 1{hostile}", "You pick up the mug 1 from the countertop 1."
        ),
        _turn(
            f"open {drawer}",
            f"You open the {drawer}. The {drawer} is open. In it, you see a pen 1.",
        ),
        _turn(
            "move mug 1 to shelf 1",
            "You move the mug 1 to the shelf 1.",
            reward=1.0,
            terminated=True,
            success=True,
        ),
    ]
    dream = [_dreamt(turn) for turn in real]
    stop = "terminated"
    if index % 3 == 1:
        dream[2] = _dreamt(
            real[2],
            observation=f"You open the {drawer}. The {drawer} is open. In it, you see nothing.",
            confidence=0.61,
            wrong=True,
        )
    if index % 3 == 2:
        lost = _turn("move knife 2 to shelf 1", "You move the knife 2 to the shelf 1.")
        real = [*real[:2], real[2], lost, _turn("look", "Nothing happens.")]
        win = lost | {"reward": 1.0, "terminated": True, "success": True}
        dream = [*dream[:2], _dreamt(win, confidence=0.72, wrong=True)]
        stop = "step_limit"
    pair = {
        "task": f"household/pick_and_place/valid_unseen/{index}",
        "goal": f"{goal[index % 3]} {hostile}".strip(),
        "real": {"turns": real, "success": real[-1]["success"], "stop": stop},
        "imagined": {"turns": dream, "success": dream[-1]["success"], "stop": "terminated"},
    }
    return pair if index != 9 else pair | {"imagined": None}


def _rate(rate: float, num: int = 200) -> dict[str, float | int]:
    half = 1.96 * math.sqrt(max(rate * (1 - rate), 0.002) / num)
    return {"rate": rate, "low": max(0.0, rate - half), "high": min(1.0, rate + half), "num": num}


def evaluation(*, hostile: str = "") -> dict[str, Any]:
    def parts(em: float) -> dict[str, Any]:
        return {
            "em": _rate(em, 300),
            "observation": _rate(em + 0.004, 300),
            "reward": _rate(0.995, 300),
            "termination": _rate(0.996, 300),
        }

    kinds = {"go to": 0.991, "open": 0.984, "take": 0.96, "move": 0.95, "heat": 0.93}
    return {
        "one_step": {
            **parts(0.978),
            "valid": _rate(0.986, 2000),
            "invalid": _rate(0.92, 400),
            "kinds": {f"{kind}{hostile}": parts(em) for kind, em in kinds.items()},
        },
        "success": {"real": _rate(0.66), "wm": _rate(0.7), "w2r": _rate(0.62)},
        "consistency": {
            "cr": 0.94,
            "num_tasks": 200,
            "agreement": _rate(0.91),
            "false_positives": _rate(0.085),
            "false_negatives": _rate(0.005),
            "first_divergence": {"1": 3, "2": 5, "3": 9, "5": 12, "8": 6, "11": 2},
            "never_diverged": 163,
        },
        "selective": [
            {"coverage": i / 20, "accuracy": 0.999 - 0.021 * (i / 20) ** 3} for i in range(1, 21)
        ],
        "calibration": {
            "ece": 0.013,
            "bins": [
                {"confidence": (i + 0.5) / 10, "accuracy": ((i + 0.5) / 10) ** 1.2, "num": 4 + i**4}
                for i in range(10)
            ]
            + [{"confidence": 0.5, "accuracy": None, "num": 0}],
        },
    }
