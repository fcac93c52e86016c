"""How well a world model predicts single turns: exact match and what hides behind its average.

Every measure is computed from one record per predicted turn, `TurnScore`. A model can be right on
nearly every turn and still be fully exploitable, so each rate comes apart: by what is predicted
(observation, reward, ending), by kind of action, by validity, by depth of the dream, and for wins
as precision and recall.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeVar

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
    f1: float | None = None
    """`word_f1` of the predicted and the real observation, where it was computed."""
