"""Samples to batches, and batches to rows without padding.

A row is several samples end to end, `[1, L]`. Everything but attention treats its tokens alike;
attention is causal within each sample, so no mask is built and no sample sees another. On a GPU a
kernel for sequences of any lengths takes the row at once. Elsewhere attention is computed sample by
sample, which on a CPU is a third quicker than a block-diagonal mask, and wastes nothing. Only
positions that some stream speaks of get logits, and a sample ends at the last of them.
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, PreTrainedModel

from dyna.seeding import generator
from dyna.training.soft import Prediction, check_stored, stored_at, stored_tensors
from dyna.types import TrainingSample

_PACKED_ATTENTION = "dyna_packed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTotals:
    """What each stream of an optimizer step is divided by, over the whole step.

    Rows, micro-batches and learners that share one step share these, so their gradients add up
    to those of the step computed at once. Example: `StreamTotals(rl=120.0, ce=0.0, ref_kl=120.0)`
    """

    rl: float = 0.0
    """Number of tokens the policy gradient speaks of."""
    ce: float = 0.0
    """Sum of the magnitudes of the cross-entropy weights."""
    ref_kl: float = 0.0
    """Number of tokens with a KL to the reference."""
    soft: float = 0.0
    """Number of tokens with a stored prediction."""

    @classmethod
    def of(cls, samples: Sequence[TrainingSample]) -> StreamTotals:
        """Raises `ValueError` if a stream's length is not its sample's, or a value not finite."""
        for sample in samples:
            _check_streams(sample)
        return cls(
            rl=math.fsum(value for sample in samples for value in sample.rl_mask),
            ce=math.fsum(abs(value) for sample in samples for value in sample.ce),
            ref_kl=float(sum(value != 0 for sample in samples for value in sample.ref_kl)),
            soft=float(sum(value != 0 for sample in samples for value in sample.soft)),
        )

    def __add__(self, other: StreamTotals) -> StreamTotals:
        return StreamTotals(
            rl=self.rl + other.rl,
            ce=self.ce + other.ce,
            ref_kl=self.ref_kl + other.ref_kl,
            soft=self.soft + other.soft,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One forward pass: L input tokens of several samples, S of them with a target."""

    input_ids: Tensor  # [1, L]
    position_ids: Tensor  # [1, L] restart with every sample
    lengths: tuple[int, ...]
    """Input tokens of each sample; they sum to L."""
    positions: Tensor  # [S] where in the row logits are computed
    targets: Tensor  # [S] the token to predict there
    ce: Tensor  # [S]
    rl: Tensor  # [S]
    rl_mask: Tensor  # [S]
    old_log_probs: Tensor  # [S]
    ref_kl: Tensor  # [S]
    soft: Tensor  # [S]
    soft_ids: Tensor  # [S, K] K is 0 where nothing has stored predictions
    soft_log_probs: Tensor  # [S, K] -inf where there is none


def num_trained_tokens(sample: TrainingSample) -> int:
    """Input tokens the sample costs: all before the last one that a stream speaks of; 0 if none."""
    spoken = _spoken_positions(sample)
    return spoken[-1] if spoken else 0


def make_batches(
    samples: Sequence[TrainingSample], *, tokens_per_batch: int, epochs: float, seed: int
) -> list[list[TrainingSample]]:
    """Shuffled batches of about `tokens_per_batch` input tokens each, one per optimizer step.

    `epochs` passes, each in an order of its own; a fraction of a pass is a random part of the
    samples. Samples that no stream speaks of are left out. The batches differ in size by no more
    than about one sample, so that no step is a small remainder.
    """
    if tokens_per_batch < 1:
        raise ValueError(f"optimizer.tokens_per_batch must be >= 1, got {tokens_per_batch}")
    if not (math.isfinite(epochs) and epochs >= 0):
        raise ValueError(f"epochs must be a finite number >= 0, got {epochs}")
    useful = [sample for sample in samples if num_trained_tokens(sample)]
    rng = generator(seed, "batches")
    queue: list[TrainingSample] = []
    num_drawn = round(epochs * len(useful))
    if useful and epochs > 0:
        num_drawn = max(1, num_drawn)
    while len(queue) < num_drawn:
        queue.extend(useful[index] for index in rng.permutation(len(useful)))
    return _cut_evenly(queue[:num_drawn], tokens_per_batch=tokens_per_batch)


def pack(
    samples: Sequence[TrainingSample], *, max_tokens: int, max_targets: int, device: torch.device
) -> list[Row]:
    """Rows of at most `max_tokens` inputs and `max_targets` targets, by first fit decreasing.

    A sample beyond a bound gets a row of its own.
    """
    bins: list[list[TrainingSample]] = []
    room: list[tuple[int, int]] = []
    sized = [
        (num_trained_tokens(sample), len(_spoken_positions(sample)), sample) for sample in samples
    ]
    for tokens, targets, sample in sorted(
        (entry for entry in sized if entry[0]), key=lambda entry: entry[0], reverse=True
    ):
        for index, (free_tokens, free_targets) in enumerate(room):
            if tokens <= free_tokens and targets <= free_targets:
                bins[index].append(sample)
                room[index] = (free_tokens - tokens, free_targets - targets)
                break
        else:
            bins.append([sample])
            room.append((max_tokens - tokens, max_targets - targets))
    return [_row(members, device=device) for members in bins]


def padding_waste(rows: Sequence[Row]) -> float:
    """Share of the tokens computed that belong to no sample, in [0, 1)."""
    computed = sum(row.input_ids.numel() for row in rows)
    return 1.0 - sum(sum(row.lengths) for row in rows) / computed if computed else 0.0


def can_pack(model: PreTrainedModel) -> bool:
    """Whether several samples may share a row: all layers are plain, pluggable attention."""
    config = model.config.get_text_config()
    layer_types: Sequence[str] | None = getattr(config, "layer_types", None)
    plain = layer_types is None or set(layer_types) == {"full_attention"}
    softcapped = getattr(config, "attn_logit_softcapping", None) is not None
    pluggable: bool = model._supports_attention_backend  # pyright: ignore[reportPrivateUsage]
    return pluggable and plain and not softcapped


@contextmanager
def packed_attention(model: PreTrainedModel) -> Generator[None]:
    """Within it, the model's attention keeps to the samples of a row (`segment_lengths`)."""
    previous: str | None = model.config._attn_implementation  # pyright: ignore[reportPrivateUsage]
    model.set_attn_implementation(_PACKED_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(previous or "eager")


def _attend(
    module: torch.nn.Module,
    query: Tensor,  # [1, heads, L, D]
    key: Tensor,  # [1, kv_heads, L, D]
    value: Tensor,  # [1, kv_heads, L, D]
    attention_mask: Tensor | None,
    *,
    segment_lengths: list[int],
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    # The kernel is FlashAttention's, which knows no float32.
    at_once = query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)
    attend = attend_at_once if at_once else attend_by_sample
    return attend(query, key, value, lengths=tuple(segment_lengths), scaling=scaling), None


def attend_by_sample(
    query: Tensor, key: Tensor, value: Tensor, *, lengths: tuple[int, ...], scaling: float | None
) -> Tensor:  # [1, L, heads, D]
    attended = [
        torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
        )
        for q, k, v in zip(
            query.split(lengths, dim=2),
            key.split(lengths, dim=2),
            value.split(lengths, dim=2),
            strict=True,
        )
    ]
    return torch.cat(attended, dim=2).transpose(1, 2).contiguous()


def attend_at_once(
    query: Tensor, key: Tensor, value: Tensor, *, lengths: tuple[int, ...], scaling: float | None
) -> Tensor:  # [1, L, heads, D]
    """As `attend_by_sample`, in one kernel that needs a GPU and 16-bit numbers."""
    ends = _ends(lengths, device=query.device)
    attended = varlen_attn(
        query[0].transpose(0, 1),  # [L, heads, D]
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        ends,
        ends,
        max(lengths),
        max(lengths),
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return cast(Tensor, attended)[None].contiguous()


@lru_cache(maxsize=8)
def _ends(lengths: tuple[int, ...], *, device: torch.device) -> Tensor:
    """Where samples begin and end, `[N + 1]`: once per row, not per layer, for it is a copy."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


AttentionInterface.register(_PACKED_ATTENTION, _attend)


def _cut_evenly(
    queue: Sequence[TrainingSample], *, tokens_per_batch: int
) -> list[list[TrainingSample]]:
    lengths = [num_trained_tokens(sample) for sample in queue]
    total = sum(lengths)
    num_batches = max(1, round(total / tokens_per_batch))
    batches: list[list[TrainingSample]] = [[] for _ in range(num_batches)]
    before = 0
    for sample, length in zip(queue, lengths, strict=True):
        middle = before + length / 2
        batches[min(num_batches - 1, int(middle * num_batches / total))].append(sample)
        before += length
    return [batch for batch in batches if batch]


def _row(samples: Sequence[TrainingSample], *, device: torch.device) -> Row:
    lengths = tuple(num_trained_tokens(sample) for sample in samples)
    input_ids: list[int] = []
    positions: list[int] = []
    targets: list[int] = []
    streams: dict[str, list[float]] = {name: [] for name in _STREAMS}
    stored: list[Prediction] = []
    for sample, length in zip(samples, lengths, strict=True):
        for position in _spoken_positions(sample):
            # Token `position` is predicted from the hidden state of the one before it.
            positions.append(len(input_ids) + position - 1)
            targets.append(sample.token_ids[position])
            for name, values in streams.items():
                stream: tuple[float, ...] = getattr(sample, name)
                values.append(stream[position] if stream else 0.0)
        stored.extend(stored_at(_spoken_positions(sample), sample=sample))
        input_ids.extend(sample.token_ids[:length])
    return Row(
        input_ids=torch.tensor([input_ids], device=device),
        position_ids=torch.cat([torch.arange(n, device=device) for n in lengths])[None],
        lengths=lengths,
        positions=torch.tensor(positions, device=device),
        targets=torch.tensor(targets, device=device),
        **stored_tensors(stored, device=device),
        **{
            name: torch.tensor(values, dtype=torch.float32, device=device)
            for name, values in streams.items()
        },
    )


_STREAMS = ("ce", "rl", "rl_mask", "old_log_probs", "ref_kl", "soft")


def _spoken_positions(sample: TrainingSample) -> list[int]:
    """Positions at which some loss is computed, ascending; never 0, which nothing predicts."""
    spoken: set[int] = set()
    for stream in (sample.ce, sample.rl_mask, sample.ref_kl, sample.soft):
        spoken.update(position for position, value in enumerate(stream) if value)
    return sorted(spoken - {0})


def _check_streams(sample: TrainingSample) -> None:
    length = len(sample.token_ids)
    for name in _STREAMS:
        stream: tuple[float, ...] = getattr(sample, name)
        if stream and len(stream) != length:
            raise ValueError(
                f"stream {name!r} must be as long as token_ids ({length}), got {len(stream)}"
            )
        if stream and stream[0]:
            raise ValueError(
                f"stream {name!r} must be 0 at position 0, which nothing predicts, got {stream[0]}"
            )
        if not all(map(math.isfinite, stream)):
            raise ValueError(f"stream {name!r} must hold finite numbers, got {stream}")
    if any(sample.rl_mask) and not (sample.rl and sample.old_log_probs):
        raise ValueError("a sample with rl_mask needs rl and old_log_probs too")
    check_stored(sample)
