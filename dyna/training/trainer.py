"""The one optimizer loop: batches of samples in, better weights out, blind to the algorithm.

`train` is an update of many optimizer steps. Learners that share a step use the two calls it is
made of, `forward_backward` with the whole step's `StreamTotals` and `optimizer_step`, and add up
their gradients in between.
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from dyna.config import OptimizerConfig
from dyna.training.losses import METRICS, LossConfig, row_loss, to_metrics
from dyna.training.packing import (
    Row,
    StreamTotals,
    can_pack,
    make_batches,
    pack,
    padding_waste,
)
from dyna.types import Metrics, TrainingSample

_FORMAT = "dyna-token-trainer-1"
_MAX_LOGITS = 2**26
"""Numbers in the largest logit matrix of a row of several samples: 256 MiB of float32."""


class TokenTrainer:
    """A causal language model with its AdamW.

    `reference` is the model that `ref_kl` streams are measured against; it is never changed.
    `max_row_tokens` bounds the memory of a forward pass, not what is learned.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        optimizer: OptimizerConfig,
        clip_low: float = 0.2,
        clip_high: float = 0.2,
        reference: PreTrainedModel | None = None,
        max_row_tokens: int = 4096,
    ) -> None:
        if max_row_tokens < 1:
            raise ValueError(f"max_row_tokens must be >= 1, got {max_row_tokens}")
        # No dropout: the probabilities trained are those that were sampled from.
        self.model = model.eval()
        self.version = 0
        """Grows by one with every `train`."""
        self._config = optimizer
        self._clip_low = clip_low
        self._clip_high = clip_high
        self._reference = reference
        self._max_row_tokens = max_row_tokens if can_pack(model) else 1
        self._optimizer = _make_optimizer(model, config=optimizer)

    def train(
        self,
        samples: Sequence[TrainingSample],
        *,
        epochs: float,
        seed: int,
        learning_rate: float | None = None,
        ce_scale: float = 1.0,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Metrics:
        """Pass `epochs` times over the samples; metrics are means over the optimizer steps.

        `learning_rate` replaces the configured peak. `on_step(done, total)` is called after every
        optimizer step. With nothing to learn from, weights and version stay as they are. Raises
        `ValueError` for malformed samples, `FloatingPointError` when a loss or gradient is not a
        finite number (the step is not taken).
        """
        peak = self._config.learning_rate if learning_rate is None else learning_rate
        StreamTotals.of(samples)  # Refuses malformed samples before any weight is touched.
        batches = make_batches(
            samples, tokens_per_batch=self._config.tokens_per_batch, epochs=epochs, seed=seed
        )
        history: list[Metrics] = []
        for step, batch in enumerate(batches):
            rate = learning_rate_at(step, total=len(batches), peak=peak, config=self._config)
            try:
                metrics = self.forward_backward(batch, ce_scale=ce_scale)
                metrics["grad_norm"] = self.optimizer_step(rate)
            except FloatingPointError as error:
                raise FloatingPointError(
                    f"optimizer step {step} of {len(batches)}: {error}"
                ) from error
            history.append(metrics)
            if on_step is not None:
                on_step(step + 1, len(batches))
        if history:
            self.version += 1
        return {"optimizer_steps": float(len(history)), **_summary(history)}

    def forward_backward(
        self,
        batch: Sequence[TrainingSample],
        *,
        totals: StreamTotals | None = None,
        ce_scale: float = 1.0,
    ) -> Metrics:
        """Add the batch's gradients to the parameters' own.

        `totals` are those of the whole optimizer step when the batch is only a part of it. The
        gradients of the parts then add up (a sum over learners, not a mean).
        """
        whole = StreamTotals.of(batch) if totals is None else totals
        config = LossConfig(clip_low=self._clip_low, clip_high=self._clip_high, ce_scale=ce_scale)
        rows = self._rows(batch)
        values = torch.zeros(len(METRICS), device=self.model.device)
        for row in rows:
            loss, row_values = row_loss(
                self.model, row=row, totals=whole, config=config, reference=self._reference
            )
            if not math.isfinite(row_values[0].item()):
                self._optimizer.zero_grad()
                raise FloatingPointError(
                    f"the loss is {row_values[0].item()} (parts: {to_metrics(row_values)}); lower "
                    "the learning rate, or look for advantages or weights out of proportion"
                )
            loss.backward()
            values += row_values
        metrics = to_metrics(values)
        metrics["tokens"] = float(sum(sum(row.lengths) for row in rows))
        metrics["trained_tokens"] = float(sum(row.targets.numel() for row in rows))
        metrics["padding_waste"] = padding_waste(rows)
        return metrics

    def optimizer_step(self, learning_rate: float) -> float:
        """Take one step along the gradients added up so far; returns their norm before clipping."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self._config.max_grad_norm))
        if not math.isfinite(norm):
            self._optimizer.zero_grad()
            raise FloatingPointError(
                f"the norm of the gradient is {norm}, the loss was finite; lower the learning rate"
            )
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm

    def weights(self) -> dict[str, Tensor]:
        """Copies of the weights by name, as `load_state_dict` takes them; tied ones share one."""
        copies: dict[int, Tensor] = {}
        return {
            name: copies.setdefault(tensor.data_ptr(), tensor.detach().clone())
            for name, tensor in self.model.state_dict().items()
        }

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Replace the weights; the optimizer's memory of the old ones is dropped."""
        self.model.load_state_dict(weights)
        self._optimizer = _make_optimizer(self.model, config=self._config)

    def freeze_reference(self) -> None:
        """From now on `ref_kl` is measured against the weights of this moment."""
        self._reference = copy.deepcopy(self.model).requires_grad_(False).eval()

    @property
    def has_reference(self) -> bool:
        return self._reference is not None

    def save(self, folder: str) -> None:
        """Write weights, optimizer state and version as safetensors and JSON.

        Raises `OSError` when the disk refuses.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        _write_tensors(_distinct(self.model), path=path / "weights.safetensors")
        _write_tensors(self._optimizer_state(), path=path / "optimizer.safetensors")
        if self._reference is not None:
            _write_tensors(_distinct(self._reference), path=path / "reference.safetensors")
        state = {
            "format": _FORMAT,
            "version": self.version,
            "has_reference": self._reference is not None,
        }
        (path / "trainer.json").write_text(json.dumps(state), encoding="utf-8")

    def load(self, folder: str) -> None:
        """Restore what `save` wrote, to the last bit.

        Raises `ValueError` naming the file when one is missing, damaged, or of another model;
        nothing has changed then.
        """
        path = Path(folder)
        state = _read_state(path / "trainer.json")
        weights = _read_tensors(path / "weights.safetensors")
        moments = _read_tensors(path / "optimizer.safetensors")
        own = dict(self.model.named_parameters())
        unknown = [key for key in moments if key.rpartition("/")[0] not in own]
        if unknown:
            raise ValueError(f"optimizer state in {str(path)!r} is of another model: {unknown[:3]}")
        reference = None
        if state["has_reference"]:
            reference = copy.deepcopy(self.model).requires_grad_(False).eval()
            _fill(reference, tensors=_read_tensors(path / "reference.safetensors"), path=path)
        _fill(self.model, tensors=weights, path=path)
        self._reference = reference
        self._load_optimizer_state(moments)
        self.version = int(state["version"])

    def _rows(self, batch: Sequence[TrainingSample]) -> list[Row]:
        vocab_size: int = self.model.config.get_text_config().vocab_size
        return pack(
            batch,
            max_tokens=self._max_row_tokens,
            max_targets=max(1, _MAX_LOGITS // vocab_size),
            device=self.model.device,
        )

    def _optimizer_state(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": tensor
            for name, parameter in self.model.named_parameters()
            for key, tensor in self._optimizer.state.get(parameter, {}).items()
        }

    def _load_optimizer_state(self, tensors: dict[str, Tensor]) -> None:
        self._optimizer = _make_optimizer(self.model, config=self._config)
        parameters = dict(self.model.named_parameters())
        for key, tensor in tensors.items():
            name, _, field = key.rpartition("/")
            parameter = parameters[name]
            # AdamW keeps its step count on the CPU unless fused on an accelerator.
            place = tensor if field == "step" else tensor.to(parameter.device)
            self._optimizer.state[parameter][field] = place


def learning_rate_at(step: int, *, total: int, peak: float, config: OptimizerConfig) -> float:
    """Linear warm-up over at most half the update, then linear decay to `final_fraction`.

    Example: with `warmup_steps=2`, `final_fraction=0.1` and `total=5` the shares of the peak are
    0.5, 1, 0.7, 0.4, 0.1.
    """
    warmup = min(config.warmup_steps, total // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    # The peak is reached once: by the last step of the warm-up, or by step 0 without one.
    first = max(warmup - 1, 0)
    progress = (step - first) / max(1, total - 1 - first)
    return peak * (1.0 - (1.0 - config.final_fraction) * progress)


def _make_optimizer(model: PreTrainedModel, *, config: OptimizerConfig) -> torch.optim.AdamW:
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {
                "params": [p for p in parameters if p.ndim >= 2],
                "weight_decay": config.weight_decay,
            },
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=True,
    )


def _summary(history: Sequence[Metrics]) -> Metrics:
    """Means over the steps, sums of tokens."""
    if not history:
        return {}
    sums = {name: math.fsum(entry[name] for entry in history) for name in history[0]}
    totals = ("tokens", "trained_tokens")
    return {name: value / (1 if name in totals else len(history)) for name, value in sums.items()}


def _distinct(model: PreTrainedModel) -> dict[str, Tensor]:
    """Parameters and buffers that are saved, each tied one once."""
    named = [*model.named_parameters(), *model.named_buffers()]
    saved = model.state_dict().keys()
    return {name: tensor.detach().contiguous() for name, tensor in named if name in saved}


@torch.no_grad()
def _fill(model: PreTrainedModel, *, tensors: dict[str, Tensor], path: Path) -> None:
    own = _distinct(model)
    differing = sorted(own.keys() ^ tensors.keys()) or [
        name for name, tensor in own.items() if tensor.shape != tensors[name].shape
    ]
    if differing:
        raise ValueError(
            f"weights in {str(path)!r} are of another model: {differing[:3]} do not match; "
            "restore with the configuration the run was saved with"
        )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{str(path)!r} does not exist: no trainer was saved there") from error
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); restore an older one") from error
    if state.get("format") != _FORMAT:
        raise ValueError(f"{str(path)!r} must have format {_FORMAT!r}, got {state.get('format')!r}")
    return state


def _write_tensors(tensors: dict[str, Tensor], *, path: Path) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # what a full disk looks like from there
        raise OSError(f"{str(path)!r} cannot be written: {error}") from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ValueError(f"{str(path)!r} does not exist: the save was not finished") from error
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); restore an older one") from error
