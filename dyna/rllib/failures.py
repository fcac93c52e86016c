"""Actors that are gone for good. The round is lost, the run is not: it can go on from its folder.

Ray is not needed to catch them.
"""

from __future__ import annotations


class LostLearnerError(RuntimeError):
    """A learner actor died. Its peers cannot step without it, so all of them must be made anew."""


class LostRunnersError(RuntimeError):
    """Too few rollout actors are alive, or they keep dying over the same episodes."""


__all__ = ["LostLearnerError", "LostRunnersError"]
