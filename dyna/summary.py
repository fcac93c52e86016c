"""What a batch of episodes was like, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence

from dyna.types import Metrics, Source, StopReason, Trajectory


def summarize(trajectories: Sequence[Trajectory], *, source: Source) -> Metrics:
    """Shares and means over episodes that did not fail; failures are counted apart.

    `<source>/success` and `<source>/return` are means over episodes, `<source>/turns` the mean
    number of new turns, and the other shares are of episodes, or of turns for `invalid_actions`.
    """
    prefix = f"{source}/"
    sound = [t for t in trajectories if not t.stop.is_failure]
    metrics: Metrics = {
        f"{prefix}episodes": float(len(sound)),
        f"{prefix}failures": float(len(trajectories) - len(sound)),
    }
    if not sound:
        return metrics
    turns = [turn for t in sound for turn in t.new_turns]
    judged = [turn for turn in turns if turn.outcome.valid is not None]
    metrics |= {
        f"{prefix}success": sum(t.success for t in sound) / len(sound),
        f"{prefix}return": sum(t.total_reward for t in sound) / len(sound),
        f"{prefix}turns": len(turns) / len(sound),
    }
    if judged:
        wasted = sum(turn.outcome.valid is False for turn in judged)
        metrics[f"{prefix}invalid_actions"] = wasted / len(judged)
    if source is Source.IMAGINED:
        for stop in (StopReason.UNTRUSTED, StopReason.UNPARSEABLE, StopReason.HORIZON):
            metrics[f"{prefix}{stop}"] = sum(t.stop is stop for t in sound) / len(sound)
    return metrics
