"""Guards against forgetting that go around an update of a language world model, beside replay.

Each is one file, named in its config by `world_model_learner.regularizers`. What it keeps of the
past counts as memory: `num_bytes`.
"""

from __future__ import annotations

from worldmodels.regularizers.nested import Regularizers

__all__ = ["Regularizers"]
