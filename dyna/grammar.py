"""What a world model writes: the observation, then a verdict on reward and ending.

    You move the mug 1 to the shelf 1. [reward 1; done; success]

`read_answer` never raises: text that is no such answer gives an outcome that stops the episode.
"""

from __future__ import annotations

import math
import re

from dyna.types import Outcome, StopReason

_NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_VERDICT = re.compile(rf" ?\[reward ({_NUMBER})(; done)?(; success)?\]\s*\Z")


def write_verdict(outcome: Outcome) -> str:
    """The verdict alone, with its leading blank: ` [reward 0]`."""
    short = f"{outcome.reward:g}"
    # Short where that loses nothing: most rewards are 0 or 1, and models read few tokens best.
    parts = [f"reward {short if float(short) == outcome.reward else repr(outcome.reward)}"]
    if outcome.terminated:
        parts.append("done")
    if outcome.success:
        parts.append("success")
    return f" [{'; '.join(parts)}]"


def write_answer(outcome: Outcome) -> str:
    return outcome.observation + write_verdict(outcome)


def read_answer(text: str) -> Outcome:
    """The outcome that `text` predicts; `stop=UNPARSEABLE` if it predicts none.

    A success without an ending, or a reward that is not a finite number, is no prediction.
    """
    match = _VERDICT.search(text)
    if match is None or (match[3] and not match[2]) or not math.isfinite(float(match[1])):
        return Outcome(observation=text, stop=StopReason.UNPARSEABLE, confidence=0.0)
    terminated = match[2] is not None
    return Outcome(
        observation=text[: match.start()],
        reward=float(match[1]),
        terminated=terminated,
        success=match[3] is not None,
        stop=StopReason.TERMINATED if terminated else None,
    )
