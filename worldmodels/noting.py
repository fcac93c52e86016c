"""What a replay buffer hears of the live model after an update: as much as it asks for."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel

from dyna.protocols import HasGradients, HasScores, HasTargets, ReplayBuffer
from dyna.rendering import Renderer
from dyna.types import Trajectory
from worldmodels.gradients import gradient_sketches
from worldmodels.surprise import surprise
from worldmodels.targets import soft_targets


def note_all(
    replay: ReplayBuffer,
    *,
    model: PreTrainedModel,
    renderer: Renderer,
    trajectories: Sequence[Trajectory],
    use_hidden_state: bool,
) -> None:
    """Losses, sketches of gradients and predictions on what was just trained on, fresh or old."""
    once = list({t.id: t for t in trajectories}.values())
    if isinstance(replay, HasScores):
        replay.note_scores(surprise(model, renderer, once, use_hidden_state=use_hidden_state))
    if isinstance(replay, HasGradients):
        replay.note_gradients(
            gradient_sketches(
                model,
                renderer,
                once,
                size=replay.sketch_size,
                use_hidden_state=use_hidden_state,
            )
        )
    if isinstance(replay, HasTargets):
        replay.note_targets(
            soft_targets(
                model,
                renderer,
                [t for t in once if replay.targets(t.id) is None],
                top_k=replay.top_k,
                use_hidden_state=use_hidden_state,
            )
        )


__all__ = ["note_all"]
