"""Trainers that take every optimizer step together with their peers in a process group.

Each cuts the same batches from the same samples, takes its share of each, divides by the totals of
the whole, and the shares' gradients are added up: one learner or many take the same steps.
`SharedTokenTrainer` holds all of the model; `ShardedTokenTrainer` holds its part of it.
"""

# torch leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from dyna.training.lora import has_lora
from dyna.training.losses import METRICS, target_distribution
from dyna.training.optimizer import MASTER
from dyna.training.packing import Row, StreamTotals
from dyna.training.passes import one_pass
from dyna.training.sharding import gather, local, shard_model, split_rows
from dyna.training.tensor_files import part_path, write_index, write_tensors
from dyna.training.trainer import TokenTrainer, not_finite, write_state
from dyna.training.weights import distinct_weights, published_weights, trainable
from dyna.types import Metrics, TrainingSample


class SharedTokenTrainer(TokenTrainer):
    """A `TokenTrainer` that takes each step together with its peers; alone it is a plain one."""

    def forward_backward(
        self,
        batch: Sequence[TrainingSample],
        *,
        totals: StreamTotals | None = None,
        ce_scale: float = 1.0,
    ) -> Metrics:
        world_size = dist.get_world_size() if dist.is_initialized() else 1
        if world_size == 1:
            return super().forward_backward(batch, totals=totals, ce_scale=ce_scale)
        whole = StreamTotals.of(batch) if totals is None else totals
        rows = self._rows(batch[dist.get_rank() :: world_size])
        values, problem = torch.zeros(len(METRICS), device=self.model.device), ""
        for row in self._in_step(rows):
            row_values = self._pass_or_none(row, totals=whole, ce_scale=ce_scale)
            values += row_values
            if not math.isfinite(row_values[0].item()):
                problem = problem or not_finite(row_values)
        # Everybody must learn of a problem before the next collective, or the others wait for ever.
        num_failed = torch.tensor(float(bool(problem)), device=self.model.device)
        dist.all_reduce(num_failed)
        if num_failed:
            self._optimizer.zero_grad()
            raise FloatingPointError(problem or "the loss of another learner is not finite")
        self._sum_gradients()
        metrics = self._metrics(rows, values=values)
        return _sum_metrics(metrics, world_size=world_size, device=self.model.device)

    def _in_step(self, rows: Sequence[Row]) -> Iterator[Row | None]:
        """The rows, and None for a pass of which only the others have a row."""
        yield from rows

    def _pass_or_none(self, row: Row | None, *, totals: StreamTotals, ce_scale: float) -> Tensor:
        if row is not None:
            return self._pass(row, totals=totals, ce_scale=ce_scale)
        # Take part in a pass of the others without adding anything to the gradients.
        empty = _empty_row(self.model.device)
        with one_pass(self.model, row=empty):
            if self._asks_reference(empty, totals=totals):
                self._expected(empty)
            (target_distribution(self.model, row=empty).sum() * 0.0).backward()
        return torch.zeros(len(METRICS), device=self.model.device)

    def _sum_gradients(self) -> None:
        for gradient in self._optimizer.fill_gradients():
            dist.all_reduce(gradient)


class ShardedTokenTrainer(SharedTokenTrainer):
    """Each peer holds its rows of every weight, gradient and moment (FSDP2); see `sharding`.

    The adapter of a model that has one is small and held whole; its frozen base is sharded. Every
    method that touches weights is a collective: all peers must call it, in the same order.
    """

    def __init__(self, model: PreTrainedModel, *, device: torch.device, **arguments: Any) -> None:
        """The parts of `model`, which may be in the CPU's memory, move to `device`.

        `arguments` are those of `TokenTrainer`, without a `reference`.
        """
        self._dtype = model.dtype
        self._trains_all = not has_lora(model)
        shard_model(model, device=device)
        super().__init__(model, **arguments)

    def weights(self) -> dict[str, Tensor]:
        """In the CPU's memory, gathered tensor by tensor; the first peer alone gets them."""
        own = published_weights(self.model)
        copies = {
            id(own[name]): whole.to("cpu", dtype=self._dtype, copy=True)
            for name, whole in gather(distinct_weights(self.model))
        }
        return {name: copies[id(tensor)] for name, tensor in own.items()} if copies else {}

    def save(self, folder: str) -> None:
        """Write this peer's part of what `TokenTrainer.save` would; all parts make one save."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        is_first = dist.get_rank() == 0
        if not self._trains_all:
            if is_first:
                super().save(folder)
            return
        own = trainable(self.model)
        moments = self._optimizer.state()
        if self._dtype != torch.float32:
            moments |= {f"{name}/{MASTER}": parameter for name, parameter in own.items()}
        self._write(path, "weights", own, dtype=self._dtype)
        self._write(path, "optimizer", moments)
        if self._reference is not None:
            self._write(path, "reference", self._reference, dtype=self._dtype)
        if is_first:
            write_state(path, version=self.version, has_reference=self.has_reference)

    def _write(
        self,
        folder: Path,
        stem: str,
        tensors: Mapping[str, Tensor],
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        rank, num_parts = dist.get_rank(), dist.get_world_size()
        mine = {
            name: local(tensor.detach()).to(dtype)
            for name, tensor in tensors.items()
            if isinstance(tensor, DTensor) or rank == 0
        }
        write_tensors(part_path(folder, stem, part=rank, num_parts=num_parts), tensors=mine)
        if rank == 0:
            rows = {
                name: split_rows(tensor.shape[0], num_parts=num_parts)
                if isinstance(tensor, DTensor)
                else None
                for name, tensor in tensors.items()
            }
            write_index(folder, stem, num_parts=num_parts, rows=rows)

    def _in_step(self, rows: Sequence[Row]) -> Iterator[Row | None]:
        # A layer is gathered by all, so all must run it equally often.
        most = torch.tensor(len(rows), device=self.model.device)
        dist.all_reduce(most, op=dist.ReduceOp.MAX)
        yield from rows
        yield from [None] * (int(most) - len(rows))

    def _asks_reference(self, row: Row, *, totals: StreamTotals) -> bool:
        # All or none: its pass gathers layers too.
        return bool(totals.ref_kl)

    def _sum_gradients(self) -> None:
        if not self._trains_all:
            super()._sum_gradients()


def _empty_row(device: torch.device) -> Row:
    nothing = torch.zeros(1, device=device)
    place = torch.zeros(1, dtype=torch.long, device=device)
    return Row(
        input_ids=place[None],
        position_ids=place[None],
        lengths=(1,),
        positions=place,
        targets=place,
        ce=nothing,
        rl=nothing,
        rl_mask=nothing,
        old_log_probs=nothing,
        ref_kl=nothing,
        soft=nothing,
        soft_ids=place[:, None][:, :0],
        soft_log_probs=nothing[:, None][:, :0],
    )


def _sum_metrics(metrics: Metrics, *, world_size: int, device: torch.device) -> Metrics:
    """All are shares of a sum, but for the waste, which is a fraction of each one's own rows."""
    values = torch.tensor(list(metrics.values()), dtype=torch.float64, device=device)
    dist.all_reduce(values)
    summed = dict(zip(metrics, values.tolist(), strict=True))
    summed["padding_waste"] /= world_size
    return summed
