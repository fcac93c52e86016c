"""How well a world model predicts single turns: exact match and what hides behind its average.

Every measure is computed from one record per predicted turn, `TurnScore`. A model can be right on
nearly every turn and still be fully exploitable, so each rate comes apart: by what is predicted
(observation, reward, ending), by kind of action, by validity, by depth of the dream, and for wins
as precision and recall.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dyna.types import Metrics

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnScore:
    """One real turn beside the model's prediction of it, reduced to what the measures need.

    Example: the model foresaw the sentence but not that the task was done:
    `TurnScore(exact=False, observation_exact=True, reward_exact=False, termination_exact=False,
    confidence=0.7, predicted_success=False, success=True, kind="move", valid=True, depth=1,
    trajectory_id="e/4")`
    """

    exact: bool
    """Observation, reward and termination are all right."""
    observation_exact: bool
    """Equal after `strip()`."""
    reward_exact: bool
    termination_exact: bool
    confidence: float
    """The model's own, in [0, 1]."""
    predicted_success: bool
    success: bool
    """What the real world said."""
    kind: str
    """The kind of action, such as the verb of the command."""
    valid: bool | None
    """Whether the real world carried the action out; None where it does not say."""
    depth: int
    """The how-manieth prediction in a row this is: 1 on a real prefix, more inside a dream."""
    trajectory_id: str
    """The real episode it belongs to; turns of one episode are not independent."""
    loss: float | None = None
    """Of the real answer, in nats; None for a model that tells no probabilities."""
    f1: float | None = None
    """`word_f1` of the predicted and the real observation, where it was computed."""


def rate(flags: Iterable[bool]) -> float:
    """The share of true ones; NaN over nothing, which is not the same as 0."""
    values = list(flags)
    return sum(values) / len(values) if values else math.nan


def exact_match(scores: Iterable[TurnScore]) -> float:
    """EM: the share of turns predicted exactly, micro-averaged over turns.

    "From Word to World" (arXiv 2512.18832): one step ahead, real prefix, greedy decoding, equality
    after `strip()`. Here reward and termination must be right as well; `observation_em` of
    `fidelity_metrics` is the paper's figure.
    """
    return rate(score.exact for score in scores)


def exact_match_by(
    scores: Iterable[TurnScore], *, key: Callable[[TurnScore], Key]
) -> dict[Key, float]:
    """EM of each group of turns.

    Example: `exact_match_by(scores, key=lambda s: s.kind)` gives `{"go": 0.99, "take": 0.9}`.
    """
    groups: dict[Key, list[bool]] = {}
    for score in scores:
        groups.setdefault(key(score), []).append(score.exact)
    return {name: rate(flags) for name, flags in groups.items()}


def win_precision(scores: Iterable[TurnScore]) -> float:
    """Of the turns predicted to succeed, the share that did; NaN if none was.

    Imagined wins are what the policy learns from, so this, and not EM, is what it exploits.
    """
    return rate(score.success for score in scores if score.predicted_success)


def win_recall(scores: Iterable[TurnScore]) -> float:
    """Of the turns that succeeded, the share predicted to; NaN if none did."""
    return rate(score.predicted_success for score in scores if score.success)


def word_f1(predicted: str, real: str) -> float:
    """F1 of the words of two texts as bags, split at blanks; 1 for two empty texts.

    The measure of "From Word to World" for tool use; SQuAD's (Rajpurkar et al. 2016) without
    its normalization. Example: `word_f1("a b", "b c")` is 0.5.
    """
    predicted_words, real_words = Counter(predicted.split()), Counter(real.split())
    total = predicted_words.total() + real_words.total()
    return 2 * (predicted_words & real_words).total() / total if total else 1.0


def fidelity_metrics(scores: Sequence[TurnScore], *, prefix: str = "model") -> Metrics:
    """All of the above as flat metrics, one-step turns (depth 1) and deeper ones apart.

    Names: `em`, `observation_em`, `reward_em`, `termination_em`, `em_valid`, `em_invalid`,
    `em_kind/<kind>` (valid actions only), `win_precision`, `win_recall`, `word_f1` over depth 1;
    `em_depth/<depth>` over all. A share of nothing is NaN.
    """
    one_step = [score for score in scores if score.depth == 1]
    valid = [score for score in one_step if score.valid is not False]
    named: Metrics = {
        "em": exact_match(one_step),
        "observation_em": rate(score.observation_exact for score in one_step),
        "reward_em": rate(score.reward_exact for score in one_step),
        "termination_em": rate(score.termination_exact for score in one_step),
        "em_valid": exact_match(valid),
        "em_invalid": exact_match(score for score in one_step if score.valid is False),
        "win_precision": win_precision(one_step),
        "win_recall": win_recall(one_step),
        "scored_turns": float(len(one_step)),
    }
    f1s = [score.f1 for score in one_step if score.f1 is not None]
    if f1s:
        named["word_f1"] = math.fsum(f1s) / len(f1s)
    for kind, value in sorted(exact_match_by(valid, key=lambda score: score.kind).items()):
        named[f"em_kind/{kind}"] = value
    for depth, value in sorted(exact_match_by(scores, key=lambda score: score.depth).items()):
        named[f"em_depth/{depth}"] = value
    return {f"{prefix}/{name}": value for name, value in named.items()}
