"""Q-learning on a table of texts: the acting half of Dyna-Q.

One-step updates in the order of experience (Watkins, 1989; Sutton, 1990): a reward moves back by
one state per visit, so experience that costs nothing, imagined experience, is worth having.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from dyna.files import read_json, write_json
from dyna.types import (
    Action,
    Context,
    Metrics,
    Outcome,
    StopReason,
    Trajectory,
    TrajectoryGroup,
)

_FORMAT = "dyna-tabular-policy-2"
_UNKNOWN = (StopReason.UNTRUSTED, StopReason.UNPARSEABLE)


class TabularPolicy:
    """Actor and learner in one, epsilon-greedy. The state is the last observation.

    It chooses among the commands that the world lists, and remembers them by state, because a
    dream lists none. Ties are broken by the turn's seed.
    """

    def __init__(
        self,
        *,
        epsilon: float = 0.1,
        learning_rate: float = 0.5,
        discount: float = 0.95,
    ) -> None:
        for name, value in (("epsilon", epsilon), ("discount", discount)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {value}")
        if not 0.0 < learning_rate <= 1.0:
            raise ValueError(f"learning_rate must be in (0, 1], got {learning_rate}")
        self.version = 0
        self._epsilon = epsilon
        self._learning_rate = learning_rate
        self._discount = discount
        self._values: dict[str, dict[str, float]] = {}
        """State -> command -> Q, for every command known to be possible there."""
        self._kept: dict[str, dict[str, float]] | None = None

    async def act(self, context: Context) -> Action:
        """Raises `LookupError` in a state whose commands were never listed."""
        values = self._values.get(context.last_observation)
        commands = context.admissible or tuple(values or ())
        if not commands:
            raise LookupError(
                f"no commands are known in the state {context.last_observation!r}; a tabular "
                "policy needs a world that lists them"
            )
        rng = random.Random(context.seed)
        if not context.greedy and rng.random() < self._epsilon:
            command = rng.choice(commands)
        else:
            worth = [(values or {}).get(command, 0.0) for command in commands]
            best = max(worth)
            ties = [c for c, value in zip(commands, worth, strict=True) if value == best]
            command = rng.choice(ties)
        return Action(command=command, policy_version=self.version)

    def update(self, groups: Sequence[TrajectoryGroup]) -> Metrics:
        """One step of Q-learning for every new turn, in order, real and imagined alike."""
        num_turns = 0
        change = 0.0
        for group in groups:
            for trajectory in group.trajectories:
                if trajectory.stop.is_failure:
                    continue
                errors = self._learn(trajectory)
                num_turns += len(errors)
                change += sum(map(abs, errors))
        self.version += 1
        return {
            "policy/turns": float(num_turns),
            "policy/td_error": change / num_turns if num_turns else 0.0,
        }

    def imitate(self, demonstrations: Sequence[Trajectory]) -> Metrics:
        """Learn from the experience of others: Q-learning does not mind who acted."""
        return self.update(
            [TrajectoryGroup(task=t.task, trajectories=(t,)) for t in demonstrations]
        )

    def _learn(self, trajectory: Trajectory) -> list[float]:
        """Temporal-difference errors of the turns learned from."""
        errors: list[float] = []
        state = trajectory.start.observation
        self._note(state, commands=trajectory.start.admissible)
        for index, turn in enumerate(trajectory.turns):
            outcome = turn.outcome
            self._note(outcome.observation, commands=outcome.admissible)
            if index >= trajectory.branch_point and outcome.stop not in _UNKNOWN:
                errors.append(self._step(state, command=turn.action.command, outcome=outcome))
            state = outcome.observation
        return errors

    def _step(self, state: str, *, command: str, outcome: Outcome) -> float:
        target = outcome.reward
        # A cut episode has not ended: what might have followed still counts.
        if not outcome.terminated:
            following = self._values.get(outcome.observation, {})
            target += self._discount * max(following.values(), default=0.0)
        values = self._values.setdefault(state, {})
        error = target - values.get(command, 0.0)
        values[command] = values.get(command, 0.0) + self._learning_rate * error
        return error

    def _note(self, state: str, *, commands: tuple[str, ...] | None) -> None:
        if commands:
            values = self._values.setdefault(state, {})
            for command in commands:
                values.setdefault(command, 0.0)

    def keep_weights(self) -> None:
        """Hold on to a copy of the table of this moment."""
        self._kept = {state: dict(values) for state, values in self._values.items()}

    def restore_weights(self) -> None:
        """Go back to the copy; states met since then are new again. Raises `ValueError` where
        there is none."""
        if self._kept is None:
            raise ValueError("no table was kept to go back to; call keep_weights first")
        self._values = {state: dict(values) for state, values in self._kept.items()}
        self.version += 1

    def save(self, folder: str) -> None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        content = {
            "format": _FORMAT,
            "version": self.version,
            "values": self._values,
            "kept": self._kept,
        }
        write_json(path / "table.json", value=content)

    def load(self, folder: str) -> None:
        """Restore what `save` wrote; raises `FileNotFoundError` or `ValueError` else."""
        path = Path(folder) / "table.json"
        content = read_json(path)
        try:
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}")
            values = _table(content["values"])
            kept = None if content["kept"] is None else _table(content["kept"])
            version = int(content["version"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{str(path)!r} is no saved tabular policy ({error!r}); restore an older one"
            ) from error
        self._values, self._kept, self.version = values, kept, version


def _table(values: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {s: {c: float(q) for c, q in row.items()} for s, row in values.items()}


__all__ = ["TabularPolicy"]
