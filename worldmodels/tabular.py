"""A world model that is a table: what followed a command in a state is what follows it.

Half of Dyna-Q (Sutton, 1990, "Integrated architectures for learning, planning, and reacting based
on approximating dynamic programming"). It is exact where it has been and silent where it has not,
which makes it the oracle of the architecture: if the loop fails with it, the loop is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dyna.files import read_json, write_json
from dyna.protocols import ReplayBuffer
from dyna.types import Action, Context, Metrics, Outcome, Source, StopReason, Trajectory

_FORMAT = "dyna-tabular-world-model-1"
_Answer = tuple[str, float, bool, bool]
"""Observation, reward, terminated, success."""


class TabularWorldModel:
    """Predictor and learner in one. The state is the last observation: the world must be Markov.

    A prediction is the most frequent answer seen, with its share as confidence. A command never
    tried in a state has no prediction: `stop=UNTRUSTED`, confidence 0.
    """

    def __init__(self) -> None:
        self.version = 0
        self._counts: dict[tuple[str, str], Counter[_Answer]] = {}

    async def predict(self, context: Context, action: Action) -> Outcome:
        counts = self._counts.get((context.last_observation, action.command))
        if counts is None:
            return Outcome(observation="", stop=StopReason.UNTRUSTED, confidence=0.0)
        # `max` keeps the first of equals: the answer that was seen first.
        answer = max(counts, key=counts.__getitem__)
        observation, reward, terminated, success = answer
        return Outcome(
            observation=observation,
            reward=reward,
            terminated=terminated,
            success=success,
            stop=StopReason.TERMINATED if terminated else None,
            confidence=counts[answer] / counts.total(),
        )

    def update(self, fresh: Sequence[Trajectory], replay: ReplayBuffer) -> Metrics:
        """Count what happened. A table forgets nothing, so `replay` is not read.

        Raises `ValueError` on episodes that are not real.
        """
        for trajectory in fresh:
            if trajectory.source is not Source.REAL:
                raise ValueError(
                    f"a world model learns from real episodes, but {trajectory.id!r} is "
                    f"{trajectory.source}"
                )
        for trajectory in fresh:
            if not trajectory.stop.is_failure:
                self._count(trajectory)
        self.version += 1
        return {"model/known_transitions": float(len(self._counts))}

    def _count(self, trajectory: Trajectory) -> None:
        context = trajectory.context(0)
        for index, turn in enumerate(trajectory.turns):
            state = replace(context, length=index).last_observation
            outcome = turn.outcome
            answer = (outcome.observation, outcome.reward, outcome.terminated, outcome.success)
            self._counts.setdefault((state, turn.action.command), Counter())[answer] += 1

    def save(self, folder: str) -> None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        table = [
            [state, command, [[*answer, count] for answer, count in counts.items()]]
            for (state, command), counts in self._counts.items()
        ]
        content = {"format": _FORMAT, "version": self.version, "table": table}
        write_json(path / "table.json", value=content)

    def load(self, folder: str) -> None:
        """Restore what `save` wrote; raises `FileNotFoundError` or `ValueError` else."""
        path = Path(folder) / "table.json"
        content = read_json(path)
        try:
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            counts = {
                (state, command): Counter({(o, r, t, s): n for o, r, t, s, n in answers})
                for state, command, answers in content["table"]
            }
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{str(path)!r} is no saved tabular world model ({error!r}); restore an older one"
            ) from error
        self._counts = counts
        self.version = int(content["version"])


__all__ = ["TabularWorldModel"]
