"""The learner actor: one `TokenTrainer` per module, which takes its steps with its peers.

RLlib's DDP takes a mean over learners, its batches cut and repeat rows, and each learner holds all.
Here RLlib starts, places and connects the learners; `dyna.training.distributed` does the rest.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch.distributed as dist
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor

from dyna.config import RunConfig, Sharding
from dyna.rllib.module import TokenModule
from dyna.rllib.parts import POLICY, thaw
from dyna.training.distributed import ShardedTokenTrainer, SharedTokenTrainer
from dyna.training.models import find_device
from dyna.types import Metrics, TrainingSample


class TokenLearner(TorchLearner):
    """RLlib's place for the two models: it builds and places them, `trainers` do the rest."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trainers: dict[str, SharedTokenTrainer] = {}
        """By module id: `policy`, `world_model`."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        module = cast(TokenModule, self.module[module_id])
        run_config = thaw(cast(Any, self.config).run_config)
        arguments = trainer_arguments(run_config, role=module_id)
        if is_sharded(run_config):
            section = run_config.policy if module_id == POLICY else run_config.world_model
            self.trainers[module_id] = ShardedTokenTrainer(
                module.language_model, device=find_device(section.model.device), **arguments
            )
        else:
            self.trainers[module_id] = SharedTokenTrainer(module.language_model, **arguments)

    def _map_module_to_device(self, module: Any) -> None:
        """Never: `load_model` has put each where `model.device` says."""

    @property
    def is_first(self) -> bool:
        """It speaks for all of them."""
        return self._index == 0

    @property
    def _index(self) -> int:
        return dist.get_rank() if dist.is_initialized() else 0

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

    def weights(self, role: str) -> dict[str, Tensor] | None:
        """Of the first learner; the others give None, and their help where the model is sharded."""
        trainer = self.trainers[role]
        if not (self.is_first or isinstance(trainer, ShardedTokenTrainer)):
            return None
        found = trainer.weights()
        return {n: t.cpu() for n, t in found.items()} if self.is_first else None

    def save(self, role: str, *, folder: str, mark: str) -> dict[str, bytes]:
        """Write this learner's part of a save.

        Where it sees the driver's file `mark` it writes into that `folder` itself; from another
        machine it returns the files, by name.
        """
        trainer = self.trainers[role]
        if not (self.is_first or isinstance(trainer, ShardedTokenTrainer)):
            return {}
        if (Path(folder) / mark).is_file():
            trainer.save(folder)
            return {}
        with tempfile.TemporaryDirectory() as own:
            trainer.save(own)
            return {path.name: path.read_bytes() for path in Path(own).iterdir()}

    def sees(self, folder: str, *, mark: str) -> bool:
        return (Path(folder) / mark).is_file()

    def restore(self, role: str, *, folder: str, files: Mapping[str, bytes] | None = None) -> None:
        """From `folder`, or from `files` for a learner on another machine."""
        if files is None:
            self.trainers[role].load(folder)
            return
        with tempfile.TemporaryDirectory() as own:
            for name, content in files.items():
                (Path(own) / name).write_bytes(content)
            self.trainers[role].load(own)

    def log_probs(
        self, role: str, *, samples: Sequence[TrainingSample]
    ) -> list[tuple[float, ...]] | None:
        """As `TokenTrainer.log_probs`: of this learner's share of the samples, which is every so
        manieth; of all of them where the model is sharded, and then the first alone answers."""
        trainer = self.trainers[role]
        if isinstance(trainer, ShardedTokenTrainer):
            found = trainer.log_probs(samples)
            return found if self.is_first else None
        world_size = dist.get_world_size() if dist.is_initialized() else 1
        return trainer.log_probs(samples[self._index :: world_size])


def is_sharded(config: RunConfig) -> bool:
    """Whether several learners hold each model in parts; one alone holds all of it in any case."""
    return config.runtime.sharding is Sharding.FSDP and config.runtime.num_learners > 1


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
