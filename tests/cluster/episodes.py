"""What was played in a tiny run, for tests that compare two of them."""

from __future__ import annotations

from typing import Any

from dyna.rllib import Dyna
from dyna.types import Trajectory


def played(algorithm: Dyna, round: int) -> list[Trajectory]:
    journal: Any = algorithm.run.loop.journal
    return journal.played[round]


def story(trajectories: list[Trajectory]) -> list[Any]:
    """All that happened, but for log-probs, which differ in the last bits with batch mates."""
    return [
        (
            *(t.id, t.group_id, t.start, t.stop, t.policy_version, t.round),
            *((u.action.command, u.action.token_ids, u.outcome) for u in t.turns),
        )
        for t in trajectories
    ]
