"""Keys and values of many conversations in fixed rows, and the attention that reads them.

A forward pass takes the new tokens of all rows as one packed sequence, so that no layer ever
computes padding; only attention needs to know which token belongs to which row. transformers lets
a model run with any registered attention function: ours writes the new keys and values into the
rows' slots, then answers the rows with one new token and those with several apart.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

ATTENTION_NAME = "dyna_slots"
"""What the attention function is registered as."""
_LENGTH_STEP = 32
"""Slots per row are a multiple of this."""
_UNSUPPORTED_ARGUMENTS = ("softcap", "s_aux", "position_bias")
"""What some models' attention adds to the plain one; ours would silently leave it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """New tokens of one row: they follow the `start` tokens the row holds."""

    row: int
    start: int
    length: int


@dataclass(slots=True, kw_only=True)
class _SingleTokens:
    """Rows with one new token each, attended as one batch.

    The batch is rows 0 to `num_rows`, of which those without a new token are computed and
    dropped; or, where these would be most, copies of the others.
    """

    num_rows: int
    """Of the batch."""
    rows: torch.Tensor | None  # [S] None when every row of the batch has a token
    is_copied: bool
    bias: torch.Tensor  # [num_rows, 1, 1, K] 0 or minus infinity
    num_keys: int


@dataclass(slots=True, kw_only=True)
class _ManyTokens:
    """Rows with several new tokens, attended as one padded batch."""

    rows: torch.Tensor | slice  # [M]
    padded: torch.Tensor  # [M, Q] index into the packed tokens; padding repeats a real token
    packed: torch.Tensor  # [sum of lengths] index into the flattened padded batch
    mask: torch.Tensor  # [M, 1, Q, K] bool
    num_keys: int


@dataclass(slots=True, kw_only=True)
class Plan:
    """One forward pass: which packed token goes where, and who attends to what."""

    rows: torch.Tensor  # [T]
    positions: torch.Tensor  # [T]
    last: torch.Tensor  # [number of spans] index of each span's last token
    singles: _SingleTokens | None
    many: _ManyTokens | None
    num_singles: int


def _make_plan(
    spans: Sequence[Span], *, capacity: int, dtype: torch.dtype, device: torch.device
) -> Plan:
    """Lay `spans` out as one packed sequence in the given order."""
    lengths = np.array([span.length for span in spans])
    rows = np.array([span.row for span in spans])
    starts = np.array([span.start for span in spans])
    num_singles = int((lengths == 1).sum())
    ends = lengths.cumsum()
    if num_singles == len(spans):
        token_rows, positions = rows, starts
    else:
        token_rows = np.repeat(rows, lengths)
        positions = np.arange(ends[-1]) - np.repeat(ends - lengths - starts, lengths)
    singles = many = None
    if num_singles:
        singles = _plan_singles(
            rows[:num_singles],
            starts=starts[:num_singles],
            capacity=capacity,
            dtype=dtype,
            device=device,
        )
    if num_singles < len(spans):
        many = _plan_many(
            rows[num_singles:],
            starts=starts[num_singles:],
            lengths=lengths[num_singles:],
            offset=num_singles,
            capacity=capacity,
            device=device,
        )
    return Plan(
        rows=_to(token_rows, device=device),
        positions=_to(positions, device=device),
        last=_to(ends - 1, device=device),
        singles=singles,
        many=many,
        num_singles=num_singles,
    )


def _to(array: NDArray[Any], *, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)


def _round_up(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP


def _num_keys(longest: int, *, capacity: int) -> int:
    """How many slots of each row to read: all of them, unless most are beyond the longest row.

    Whole rows are contiguous in memory, and a product of contiguous matrices is twice as fast.
    """
    return capacity if 2 * longest > capacity else _round_up(longest)


def _plan_singles(
    rows: NDArray[np.int64],
    *,
    starts: NDArray[np.int64],
    capacity: int,
    dtype: torch.dtype,
    device: torch.device,
) -> _SingleTokens:
    num_rows = int(rows[-1]) + 1
    # A copy is a read, a write and a read again.
    is_copied = len(rows) * 3 < num_rows
    num_keys = _num_keys(int(starts.max()) + 1, capacity=capacity)
    if is_copied:
        num_rows, limits = len(rows), starts
    else:
        limits = np.zeros(num_rows, dtype=np.int64)
        limits[rows] = starts
    is_hidden = np.arange(num_keys)[None, :] > limits[:, None]
    bias = np.where(is_hidden, np.float32(-np.inf), np.float32(0.0))
    return _SingleTokens(
        num_rows=num_rows,
        rows=_to(rows, device=device) if is_copied or len(rows) < num_rows else None,
        is_copied=is_copied,
        bias=_to(bias, device=device).to(dtype)[:, None, None],
        num_keys=num_keys,
    )


def _plan_many(
    rows: NDArray[np.int64],
    *,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    offset: int,
    capacity: int,
    device: torch.device,
) -> _ManyTokens:
    num_queries = int(lengths.max())
    num_keys = _num_keys(int((starts + lengths).max()), capacity=capacity)
    steps = np.minimum(np.arange(num_queries)[None, :], lengths[:, None] - 1)  # [M, Q]
    first = offset + lengths.cumsum() - lengths  # [M]
    mask = np.arange(num_keys)[None, None, :] <= (starts[:, None] + steps)[:, :, None]
    is_real = np.arange(num_queries)[None, :] < lengths[:, None]
    low, high = int(rows[0]), int(rows[-1]) + 1
    is_range = high - low == len(rows) and bool((np.diff(rows) == 1).all())
    return _ManyTokens(
        rows=slice(low, high) if is_range else _to(rows, device=device),
        padded=_to(first[:, None] + steps, device=device),
        packed=_to(np.flatnonzero(is_real.ravel()), device=device),
        mask=_to(mask, device=device)[:, None],
        num_keys=num_keys,
    )


class SlotCache:
    """Keys and values of every layer: one slot per row and position.

    Slots are allocated when a layer first writes, in the shape and dtype it writes, and grow with
    the longest row: what lies close together is read faster than what is spread out.
    """

    def __init__(
        self, *, num_rows: int, max_context: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._num_rows = num_rows
        self._max_capacity = _round_up(max_context)
        self._capacity = 0
        self._dtype = dtype
        self._device = device
        self._keys: dict[int, torch.Tensor] = {}  # layer -> [R, H, C, D]
        self._values: dict[int, torch.Tensor] = {}
        self.plan: Plan | None = None
        self.clear()

    @property
    def layers(self) -> set[int]:
        """The layers that have written so far."""
        return set(self._keys)

    def clear(self) -> None:
        """Drop all slots; even what a broken model wrote, which no mask could hide."""
        self._keys.clear()
        self._values.clear()
        self._capacity = min(4 * _LENGTH_STEP, self._max_capacity)
        self.plan = None

    def prepare(self, spans: Sequence[Span]) -> Plan:
        """Make room for the new tokens of one forward pass, and say how it goes.

        Spans of one token must come first, and both kinds in rising order of rows.
        """
        self._reserve(max(span.start + span.length for span in spans))
        self.plan = _make_plan(
            spans, capacity=self._capacity, dtype=self._dtype, device=self._device
        )
        return self.plan

    def _reserve(self, length: int) -> None:
        if length <= self._capacity:
            return
        grown = _round_up(length + self._capacity // 8)
        self._capacity = min(grown, self._max_capacity)
        for slots in (self._keys, self._values):
            for layer, old in slots.items():
                slots[layer] = self._allocate(old)
                slots[layer][:, :, : old.shape[2]] = old

    def copy_prefix(self, source: int, *, target: int, length: int) -> None:
        """Give row `target` the first `length` positions of row `source`."""
        if source == target:
            return
        for slots in (*self._keys.values(), *self._values.values()):
            slots[target, :, :length] = slots[source, :, :length]

    def write(
        self, keys: torch.Tensor, *, values: torch.Tensor, plan: Plan, layer: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the packed new keys and values [1, H, T, D]; returns all slots of the layer."""
        if layer not in self._keys:
            self._keys[layer] = self._allocate(keys)
            self._values[layer] = self._allocate(values)
        all_keys, all_values = self._keys[layer], self._values[layer]
        index = (plan.rows, slice(None), plan.positions)
        all_keys[index] = keys[0].transpose(0, 1)
        all_values[index] = values[0].transpose(0, 1)
        return all_keys, all_values

    def _allocate(self, like: torch.Tensor) -> torch.Tensor:
        # Zeros, because a masked slot still enters the products and garbage may be NaN.
        shape = (self._num_rows, like.shape[1], self._capacity, like.shape[3])
        return torch.zeros(shape, dtype=like.dtype, device=like.device)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    slots: SlotCache | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function given to transformers.

    Args:
        module: The attention layer; its `layer_idx` names its slots.
        query: [1, H, T, D] of the packed new tokens; key and value [1, H_kv, T, D] likewise.
        attention_mask: Unused: the plan knows who sees what.
        scaling: Factor on the scores; 1/sqrt(D) if None.
        slots: The cache with the plan of this pass.
        kwargs: What the model passes on to any attention function.

    Returns:
        [1, T, H, D], and no weights.
    """
    if slots is None or slots.plan is None:
        raise ValueError(f"{type(module).__name__} does not pass `slots` on to its attention")
    for name in _UNSUPPORTED_ARGUMENTS:
        if kwargs.get(name) is not None:
            raise ValueError(f"{type(module).__name__} needs {name}, which slots do not support")
    plan = slots.plan
    keys, values = slots.write(key, values=value, plan=plan, layer=module.layer_idx)  # pyright: ignore
    scale: float = query.shape[-1] ** -0.5 if scaling is None else scaling
    queries = query[0].transpose(0, 1)  # [T, H, D]
    parts: list[torch.Tensor] = []
    if plan.singles is not None:
        parts.append(
            _attend_singles(
                plan.singles,
                queries=queries[: plan.num_singles],
                keys=keys,
                values=values,
                scaling=scale,
            )
        )
    if plan.many is not None:
        parts.append(
            _attend_many(
                plan.many,
                queries=queries,
                keys=keys,
                values=values,
                scaling=scale,
            )
        )
    out = parts[0] if len(parts) == 1 else torch.cat(parts)
    return out[None], None


def _attend_singles(
    plan: _SingleTokens,
    *,
    queries: torch.Tensor,  # [S, H, D]
    keys: torch.Tensor,
    values: torch.Tensor,
    scaling: float,
) -> torch.Tensor:  # [S, H, D]
    batch = queries
    if plan.rows is not None and plan.is_copied:
        keys = keys[:, :, : plan.num_keys].index_select(0, plan.rows)
        values = values[:, :, : plan.num_keys].index_select(0, plan.rows)
    elif plan.rows is not None:
        batch = queries.new_zeros((plan.num_rows, *queries.shape[1:]))
        batch.index_copy_(0, plan.rows, queries)
    num_heads, size = queries.shape[1:]
    num_groups = keys.shape[1]
    # Heads that share keys lie side by side: one matrix product per row and group of heads.
    grouped = (batch * scaling).reshape(-1, num_heads // num_groups, size)  # [R * G, H / G, D]
    keys = keys[: plan.num_rows, :, : plan.num_keys].flatten(0, 1)
    values = values[: plan.num_rows, :, : plan.num_keys].flatten(0, 1)
    scores = torch.bmm(grouped, keys.transpose(1, 2))
    scores.view(plan.num_rows, num_groups, -1, plan.num_keys).add_(plan.bias)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(scores.dtype)
    out = torch.bmm(weights, values).view(plan.num_rows, num_heads, -1)
    return out if plan.rows is None or plan.is_copied else out.index_select(0, plan.rows)


def _attend_many(
    plan: _ManyTokens,
    *,
    queries: torch.Tensor,  # [T, H, D]
    keys: torch.Tensor,
    values: torch.Tensor,
    scaling: float,
) -> torch.Tensor:  # [sum of lengths, H, D]
    out = scaled_dot_product_attention(
        queries[plan.padded].transpose(1, 2),  # [M, H, Q, D]
        keys[plan.rows, :, : plan.num_keys],
        values[plan.rows, :, : plan.num_keys],
        attn_mask=plan.mask,
        scale=scaling,
        enable_gqa=keys.shape[1] != queries.shape[1],
    )
    return out.transpose(1, 2).flatten(0, 1).index_select(0, plan.packed)


@contextmanager
def slot_attention(model: PreTrainedModel) -> Generator[None]:
    """Within it, `model` attends through `attend`; before and after, as it did."""
    before = model.config._attn_implementation  # pyright: ignore
    model.config._attn_implementation = ATTENTION_NAME  # pyright: ignore
    try:
        yield
    finally:
        model.config._attn_implementation = before  # pyright: ignore


ALL_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, attend)
