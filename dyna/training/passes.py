"""What must hold from the start of a forward pass to the end of its backward pass.

With gradient checkpointing the layers run again on the way back, so whatever changes how they run
lasts until then: attention that keeps to the samples of a row, and the layers' own mark to
recompute.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from dyna.configuring import ConfigError
from dyna.training.packing import Row, packed_attention


def enable_checkpointing(model: PreTrainedModel) -> None:
    """Let the model's layers be computed again on the way back, within `one_pass`.

    Raises `ConfigError` for a model whose layers cannot.
    """
    if not model.supports_gradient_checkpointing or not _layers(model):
        raise ConfigError(
            f"optimizer.gradient_checkpointing=true: {type(model).__name__} cannot; turn it off, "
            "and lower optimizer.tokens_per_pass to save memory"
        )
    # Nothing is random in a layer without dropout, so no generator's state needs keeping.
    model.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})


@contextmanager
def one_pass(model: PreTrainedModel, *, row: Row) -> Generator[None]:
    """The forward and the backward pass of `row` belong inside."""
    # A layer recomputes only while it is `training`. The mark is put on the layer alone: what is
    # in it (dropout) stays in evaluation mode.
    layers = [layer for layer in _layers(model) if layer.gradient_checkpointing]
    with ExitStack() as stack:
        if len(row.lengths) > 1:
            stack.enter_context(packed_attention(model))
        for layer in layers:
            layer.training = True
        try:
            yield
        finally:
            for layer in layers:
                layer.training = False


def _layers(model: PreTrainedModel) -> list[GradientCheckpointingLayer]:
    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
