"""The learner actor: one `TokenTrainer` per module, its gradients summed over the learners.

RLlib's DDP takes a mean over learners and its batches cut and repeat rows. Here every learner cuts
the same batches from the same samples, takes its share of each, divides by the totals of the
whole, and the shares' gradients are added up: one learner or many take the same steps.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.distributed as dist
from ray.rllib.core.learner.torch.torch_learner import TorchLearner

from dyna.config import RunConfig
from dyna.rllib.module import TokenModule
from dyna.rllib.parts import POLICY, thaw
from dyna.training.packing import StreamTotals
from dyna.training.trainer import TokenTrainer
from dyna.types import Metrics, TrainingSample

_log = logging.getLogger(__name__)


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
        metrics, problem = Metrics(), ""
        try:
            share = batch[dist.get_rank() :: world_size]
            metrics = super().forward_backward(share, totals=whole, ce_scale=ce_scale)
        except FloatingPointError as error:
            problem = str(error)
        # Everybody must learn of a problem before the next collective, or the others wait for ever.
        num_failed = torch.tensor(float(bool(problem)))
        dist.all_reduce(num_failed)
        if num_failed:
            self._optimizer.zero_grad()
            raise FloatingPointError(problem or "the loss of another learner is not finite")
        self._sum_gradients()
        return _sum_metrics(metrics, world_size=world_size)

    def _sum_gradients(self) -> None:
        for gradient in self._optimizer.fill_gradients():
            dist.all_reduce(gradient)


class TokenLearner(TorchLearner):
    """RLlib's place for the two models: it builds and places them, `trainers` do the rest."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trainers: dict[str, SharedTokenTrainer] = {}
        """By module id: `policy`, `world_model`."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        module = cast(TokenModule, self.module[module_id])
        run_config = thaw(cast(Any, self.config).run_config)
        self.trainers[module_id] = SharedTokenTrainer(
            module.language_model, **trainer_arguments(run_config, role=module_id)
        )

    @property
    def is_first(self) -> bool:
        """It speaks for all of them, which hold the same."""
        return self._learner_index == 0

    def _make_modules_ddp_if_necessary(self) -> None:
        """Never: the trainers add gradients up themselves."""

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Any:
        raise NotImplementedError(
            "a TokenLearner learns from TrainingSamples; use dyna.rllib.trainer.RLlibTrainer"
        )

    def train_on(
        self, role: str, *, samples: Sequence[TrainingSample], arguments: dict[str, Any]
    ) -> Metrics | str:
        """`TokenTrainer.train` with the peers; a loss that is not finite comes back as text."""
        try:
            return self.trainers[role].train(samples, **arguments)
        except FloatingPointError as error:
            return str(error)

    def export(self, role: str) -> dict[str, bytes]:
        """The files of `TokenTrainer.save`, by name."""
        with tempfile.TemporaryDirectory() as folder:
            self.trainers[role].save(folder)
            return {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    def restore(self, role: str, *, files: dict[str, bytes]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self.trainers[role].load(folder)


def trainer_arguments(config: RunConfig, *, role: str) -> dict[str, Any]:
    """Keyword arguments of the role's `TokenTrainer`."""
    if role == POLICY:
        learner = config.policy_learner
        return {
            "optimizer": learner.optimizer,
            "clip_low": learner.clip_low,
            "clip_high": learner.clip_high,
        }
    return {"optimizer": config.world_model_learner.optimizer}


def _sum_metrics(metrics: Metrics, *, world_size: int) -> Metrics:
    """All are shares of a sum, but for the waste, which is a fraction of each one's own rows."""
    values = torch.tensor([metrics[name] for name in metrics], dtype=torch.float64)
    dist.all_reduce(values)
    summed = dict(zip(metrics, values.tolist(), strict=True))
    summed["padding_waste"] /= world_size
    return summed
