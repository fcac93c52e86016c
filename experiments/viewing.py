"""Episodes for the report's viewer: imagined beside real, with the turns where the model erred."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dyna.types import Outcome, Trajectory, Turn


def viewer_pairs(
    real: Sequence[Trajectory],
    *,
    imagined: Sequence[Trajectory],
    replayed: Sequence[Trajectory],
) -> list[dict[str, Any]]:
    """One entry per real episode, with the dream of the same task where there is one.

    `replayed` are the dreams' actions in the real world, in the order of `imagined`: what the
    world really answers to them.
    """
    dreams = {
        dream.task.id: (dream, truth) for dream, truth in zip(imagined, replayed, strict=True)
    }
    return [
        {
            "task": episode.task.id,
            "goal": episode.start.observation,
            "real": _episode(episode),
            "imagined": _dream(*dreams[episode.task.id]) if episode.task.id in dreams else None,
        }
        for episode in real
    ]


def _episode(trajectory: Trajectory) -> dict[str, Any]:
    return {
        "turns": [_turn(turn) for turn in trajectory.turns],
        "success": trajectory.success,
        "stop": str(trajectory.stop),
    }


def _dream(dream: Trajectory, replayed: Trajectory) -> dict[str, Any]:
    episode = _episode(dream)
    for index, (shown, turn) in enumerate(zip(episode["turns"], dream.turns, strict=True)):
        # After the real world ended the episode nobody knows what it would have said.
        truth = replayed.turns[index].outcome if index < len(replayed.turns) else None
        shown["confidence"] = turn.outcome.confidence
        shown["truth"] = truth.observation if truth else None
        shown["wrong"] = truth is not None and differs(turn.outcome, truth)
    return episode


def differs(predicted: Outcome, true: Outcome) -> bool:
    """Whether observation, reward or ending is wrong."""
    return (
        predicted.observation.strip() != true.observation.strip()
        or predicted.reward != true.reward
        or predicted.terminated != true.terminated
    )


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "action": turn.action.command,
        "observation": turn.outcome.observation,
        "reward": turn.outcome.reward,
        "terminated": turn.outcome.terminated,
        "success": turn.outcome.success,
    }
