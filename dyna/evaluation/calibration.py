"""Does the model know when it is wrong? Its confidence against its correctness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRisk:
    """One point of the curve: accept every prediction at least this confident."""

    threshold: float
    coverage: float
    """Share of predictions accepted, in (0, 1]."""
    risk: float
    """Share of those accepted that are wrong."""


def coverage_risk_curve(
    confidences: Sequence[float],  # [N]
    *,
    correct: Sequence[bool],  # [N]
) -> list[CoverageRisk]:
    """One point per distinct confidence, from the most confident on.

    El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification" (JMLR 2010).
    Equal confidences are accepted together, so the order of the input does not matter.
    """
    pairs = _pairs(confidences, correct=correct)
    curve: list[CoverageRisk] = []
    wrong = 0
    for index, (confidence, right) in enumerate(pairs, start=1):
        wrong += not right
        if index == len(pairs) or pairs[index][0] != confidence:
            curve.append(
                CoverageRisk(threshold=confidence, coverage=index / len(pairs), risk=wrong / index)
            )
    return curve


def selective_fidelity(
    confidences: Sequence[float],  # [N]
    *,
    correct: Sequence[bool],  # [N]
    coverage: float,
) -> float:
    """Accuracy on the most confident share of predictions: the smallest that covers `coverage`.

    NaN over no predictions. Example: `selective_fidelity([.9, .8, .1], correct=[True, True,
    False], coverage=.5)` is 1.0.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be in (0, 1], got {coverage}")
    for point in coverage_risk_curve(confidences, correct=correct):
        if point.coverage >= coverage:
            return 1 - point.risk
    return math.nan


def area_under_risk(
    confidences: Sequence[float],  # [N]
    *,
    correct: Sequence[bool],  # [N]
) -> float:
    """AURC: risk averaged over coverage, lower is better; NaN over no predictions.

    Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation" (ICLR 2019). Predictions of
    one confidence all have the risk at their common threshold.
    """
    curve = coverage_risk_curve(confidences, correct=correct)
    if not curve:
        return math.nan
    area, covered = 0.0, 0.0
    for point in curve:
        area += point.risk * (point.coverage - covered)
        covered = point.coverage
    return area


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Predictions of about one confidence."""

    confidence: float
    """Their mean."""
    accuracy: float
    num: int


def reliability_bins(
    confidences: Sequence[float],  # [N] in [0, 1]
    *,
    correct: Sequence[bool],  # [N]
    num_bins: int = 10,
) -> list[ReliabilityBin]:
    """The reliability diagram: bins of equal width that hold anything, least confident first.

    Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017). Bins are open below and
    closed above, the first closed on both sides.
    """
    if num_bins < 1:
        raise ValueError(f"num_bins must be >= 1, got {num_bins}")
    members: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in _pairs(confidences, correct=correct):
        if not 0 <= confidence <= 1:
            raise ValueError(f"a confidence must be in [0, 1], got {confidence}")
        index = max(0, math.ceil(confidence * num_bins) - 1)
        members.setdefault(index, []).append((confidence, right))
    return [
        ReliabilityBin(
            confidence=math.fsum(confidence for confidence, _ in pairs) / len(pairs),
            accuracy=sum(right for _, right in pairs) / len(pairs),
            num=len(pairs),
        )
        for _, pairs in sorted(members.items())
    ]


def expected_calibration_error(
    confidences: Sequence[float],  # [N] in [0, 1]
    *,
    correct: Sequence[bool],  # [N]
    num_bins: int = 10,
) -> float:
    """ECE: |accuracy - mean confidence| per bin, weighted by the bin's share of predictions.

    Guo et al. (ICML 2017), over `reliability_bins`. NaN over no predictions.
    """
    bins = reliability_bins(confidences, correct=correct, num_bins=num_bins)
    if not bins:
        return math.nan
    gaps = math.fsum(b.num * abs(b.accuracy - b.confidence) for b in bins)
    return gaps / len(confidences)


def _pairs(confidences: Sequence[float], *, correct: Sequence[bool]) -> list[tuple[float, bool]]:
    if len(confidences) != len(correct):
        raise ValueError(f"{len(confidences)} confidences for {len(correct)} outcomes")
    if any(math.isnan(confidence) for confidence in confidences):
        raise ValueError("a confidence is NaN; give unparseable predictions the confidence 0")
    return sorted(zip(confidences, correct, strict=True), key=lambda pair: -pair[0])
