"""The one optimizer loop: batches of samples in, better weights out, blind to the algorithm.

`train` is an update of many optimizer steps. Learners that share a step use the two calls it is
made of, `forward_backward` with the whole step's `StreamTotals` and `optimizer_step`, and add up
their gradients in between.
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dyna.config import OptimizerConfig
from dyna.training.losses import METRICS, LossConfig, row_loss, target_distribution, to_metrics
from dyna.training.optimizer import MasterAdamW
from dyna.training.packing import (
    Row,
    StreamTotals,
    can_pack,
    make_batches,
    pack,
    padding_waste,
)
from dyna.training.passes import enable_checkpointing, one_pass
from dyna.training.penalties import Penalty
from dyna.training.scoring import score_actions
from dyna.training.sharding import local, total_norm
from dyna.training.snapshot import Snapshot
from dyna.training.tensor_files import TensorFiles, write_tensors
from dyna.training.weights import (
    check_weights,
    distinct_weights,
    move_toward,
    published_weights,
    put_weights,
    read_like,
    swapped,
    trainable,
)
from dyna.types import Metrics, TrainingSample

_FORMAT = "dyna-token-trainer-1"
_MAX_LOGITS = 2**26
"""Numbers in the largest logit matrix of a row of several samples: 256 MiB of float32."""


class TokenTrainer:
    """A causal language model with its AdamW; of a model with an adapter, the adapter with its.

    `reference` has the weights that `ref_kl` streams are measured against; they are copied.
    `optimizer.tokens_per_pass` bounds the memory of a pass, not what is learned.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        optimizer: OptimizerConfig,
        clip_low: float = 0.2,
        clip_high: float = 0.2,
        reference: PreTrainedModel | None = None,
    ) -> None:
        # No dropout: the probabilities trained are those that were sampled from.
        self.model = model.eval()
        self.version = 0
        """Grows by one with every `train`."""
        self._config = optimizer
        self._clip_low = clip_low
        self._clip_high = clip_high
        self._max_tokens = optimizer.tokens_per_pass if can_pack(model) else 1
        vocab_size: int = model.config.get_text_config().vocab_size
        self._max_targets = max(1, _MAX_LOGITS // vocab_size)
        if optimizer.gradient_checkpointing:
            enable_checkpointing(model)
        self._optimizer = MasterAdamW(model, config=optimizer)
        self._marked: Snapshot | None = None
        self._reference: dict[str, Tensor] | None = None
        """Copies of what is trained, of another moment."""
        if reference is not None:
            self._reference = _copies(trainable(reference))

    def train(
        self,
        samples: Sequence[TrainingSample],
        *,
        epochs: float,
        seed: int,
        learning_rate: float | None = None,
        ce_scale: float = 1.0,
        penalties: Sequence[Penalty] = (),
        on_step: Callable[[int, int], None] | None = None,
    ) -> Metrics:
        """Pass `epochs` times over the samples; metrics are means over the optimizer steps.

        `learning_rate` replaces the configured peak, `penalties` pull at every step, and
        `on_step(done, total)` is called after each. With nothing to learn from, weights and version
        stay as they are. Raises `ValueError` for malformed samples, `FloatingPointError` when a
        loss or gradient is not a finite number (the step is not taken).
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
                metrics["grad_norm"] = self.optimizer_step(rate, penalties=penalties)
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
        rows = self._rows(batch)
        values = torch.zeros(len(METRICS), device=self.model.device)
        for row in rows:
            row_values = self._pass(row, totals=whole, ce_scale=ce_scale)
            if not math.isfinite(row_values[0].item()):
                self._optimizer.zero_grad()
                raise FloatingPointError(not_finite(row_values))
            values += row_values
        return self._metrics(rows, values=values)

    def optimizer_step(self, learning_rate: float, *, penalties: Sequence[Penalty] = ()) -> float:
        """Take one step along the gradients added up so far; returns their norm before clipping."""
        self._optimizer.add_penalties(penalties)
        norm = self._clip()
        if not math.isfinite(norm):
            self._optimizer.zero_grad()
            raise FloatingPointError(
                f"the norm of the gradient is {norm}, the loss was finite; lower the learning rate"
            )
        self._optimizer.step(learning_rate)
        return norm

    def log_probs(self, samples: Sequence[TrainingSample]) -> list[tuple[float, ...]]:
        """The model's own log-probability of every token that `rl_mask` marks, 0 elsewhere."""
        return score_actions(self.model, samples, max_tokens=self._config.tokens_per_pass)

    def weights(self) -> dict[str, Tensor]:
        """Copies of the adapter's tensors if the model has one, else of all weights, by name.

        As `load_weights` of a trainer or an engine takes them; tied ones share one copy.
        """
        return _copies(published_weights(self.model))

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Replace the weights; the optimizer's memory of the old ones is dropped.

        Raises `ValueError` for names or shapes of another model; nothing has changed then.
        """
        put_weights(self.model, weights)
        self._optimizer.forget()

    def mark(self) -> None:
        """Keep this moment in memory, in the place of an earlier one, for `rewind`."""
        self._marked = Snapshot(self.model, optimizer=self._optimizer, version=self.version)

    def rewind(self) -> None:
        """Be again what it was at the last `mark`: weights, optimizer and version, to the last bit.

        Raises `RuntimeError` where nothing is marked.
        """
        if self._marked is None:
            raise RuntimeError("the trainer has no moment to go back to; call mark before training")
        self._marked.put_back(self.model, optimizer=self._optimizer)
        self.version = self._marked.version
        self._marked = None

    def unmark(self) -> None:
        """Let go of what was kept."""
        self._marked = None

    def freeze_reference(self) -> None:
        """From now on `ref_kl` is measured against the weights of this moment."""
        self._reference = _copies(trainable(self.model))

    def update_reference(self, rate: float) -> None:
        """Move the reference this share, in [0, 1], of the way to the weights of this moment.

        Raises `ValueError` where there is none, and for weights of too few bits to hold an average.
        """
        if self._reference is None:
            raise ValueError("there is no reference to move; call freeze_reference first")
        move_toward(trainable(self.model), moved=self._reference, rate=rate)

    def drop_reference(self) -> None:
        """Let its copy of the weights go; samples that weigh a `ref_kl` are refused then."""
        self._reference = None

    @property
    def has_reference(self) -> bool:
        return self._reference is not None

    def save(self, folder: str) -> None:
        """Write weights, optimizer state and version as safetensors and JSON.

        Raises `OSError` when the disk refuses.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        write_tensors(path / "weights.safetensors", tensors=distinct_weights(self.model))
        write_tensors(path / "optimizer.safetensors", tensors=self._optimizer.state())
        if self._reference is not None:
            write_tensors(path / "reference.safetensors", tensors=self._reference)
        write_state(path, version=self.version, has_reference=self.has_reference)

    def load(self, folder: str) -> None:
        """Restore what `save` wrote, to the last bit.

        Raises `ValueError` naming the file when one is missing, damaged, or of another model;
        nothing has changed then.
        """
        saved = SavedTrainer(Path(folder), model=self.model)
        own, trained = published_weights(self.model), trainable(self.model)
        with torch.no_grad():
            for name in saved.weights.shapes:
                local(own[name]).copy_(read_like(own[name], files=saved.weights, name=name))
            self._reference = None
            if saved.reference is not None:
                self._reference = _copies(trained)
                for name, copy in self._reference.items():
                    local(copy).copy_(read_like(copy, files=saved.reference, name=name))
        self._optimizer.load_state(
            (key, read_like(trained[key.rpartition("/")[0]], files=saved.optimizer, name=key))
            for key in saved.optimizer.shapes
        )
        self.version = saved.version

    def _rows(self, batch: Sequence[TrainingSample]) -> list[Row]:
        return pack(
            batch,
            max_tokens=self._max_tokens,
            max_targets=self._max_targets,
            device=self.model.device,
        )

    def _pass(self, row: Row, *, totals: StreamTotals, ce_scale: float) -> Tensor:
        """Add one row's gradients; its `METRICS`."""
        config = LossConfig(clip_low=self._clip_low, clip_high=self._clip_high, ce_scale=ce_scale)
        with one_pass(self.model, row=row):
            expected = self._expected(row) if self._asks_reference(row, totals=totals) else None
            loss, values = row_loss(
                self.model, row=row, totals=totals, config=config, expected=expected
            )
            loss.backward()
        return values

    def _asks_reference(self, row: Row, *, totals: StreamTotals) -> bool:
        return bool(row.ref_kl.any())

    @torch.no_grad()
    def _expected(self, row: Row) -> Tensor:
        """The reference's log-probabilities `[S, V]`."""
        if self._reference is None:
            raise ValueError("samples weigh a ref_kl, but the trainer was given no reference model")
        with swapped(trainable(self.model), others=self._reference):
            return target_distribution(self.model, row=row)

    def _metrics(self, rows: Sequence[Row], *, values: Tensor) -> Metrics:
        metrics = to_metrics(values)
        metrics["tokens"] = float(sum(sum(row.lengths) for row in rows))
        metrics["trained_tokens"] = float(sum(row.targets.numel() for row in rows))
        metrics["padding_waste"] = padding_waste(rows)
        return metrics

    def _clip(self) -> float:
        """Scale the gradients down to the configured norm; returns the norm they had."""
        touched = self._optimizer.touched()
        norm = total_norm([p.grad for p in touched if p.grad is not None])
        torch.nn.utils.clip_grads_with_norm_(touched, self._config.max_grad_norm, norm)
        return float(norm)


class SavedTrainer:
    """A folder that a trainer wrote, open for reading and found to fit `model`.

    Raises `ValueError` naming what is missing, damaged or of another model.
    """

    def __init__(self, folder: Path, *, model: PreTrainedModel) -> None:
        state = _read_state(folder / "trainer.json")
        self.version = int(state["version"])
        self.weights = TensorFiles(folder, "weights")
        self.optimizer = TensorFiles(folder, "optimizer")
        self.reference = TensorFiles(folder, "reference") if state["has_reference"] else None
        own = {name: tuple(p.shape) for name, p in trainable(model).items()}
        moments = [
            key
            for key, shape in self.optimizer.shapes.items()
            if shape not in ((), own.get(key.rpartition("/")[0]))
            or key.rpartition("/")[0] not in own
        ]
        if moments:
            raise ValueError(
                f"optimizer state in {str(folder)!r} is of another model: {moments[:3]}"
            )
        try:
            check_weights(model, self.weights.shapes)
            if self.reference and own.keys() - self.reference.shapes.keys():
                raise ValueError("the reference lacks names")
        except ValueError as error:
            raise ValueError(
                f"weights in {str(folder)!r} are of another model: {error}; restore with the "
                "configuration the run was saved with"
            ) from error


def write_state(folder: Path, *, version: int, has_reference: bool) -> None:
    """Last of all: without it a folder holds no trainer."""
    state = {"format": _FORMAT, "version": version, "has_reference": has_reference}
    (folder / "trainer.json").write_text(json.dumps(state), encoding="utf-8")


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


def _summary(history: Sequence[Metrics]) -> Metrics:
    """Means over the steps, sums of tokens."""
    if not history:
        return {}
    sums = {name: math.fsum(entry[name] for entry in history) for name in history[0]}
    totals = ("tokens", "trained_tokens")
    return {name: value / (1 if name in totals else len(history)) for name, value in sums.items()}


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    copies: dict[int, Tensor] = {}
    return {
        name: copies.setdefault(id(tensor), tensor.detach().clone())
        for name, tensor in tensors.items()
    }


def not_finite(values: Tensor) -> str:
    """What to say of a row whose loss is no number."""
    return (
        f"the loss is {values[0].item()} (parts: {to_metrics(values)}); lower the learning rate, "
        "or look for advantages or weights out of proportion"
    )


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
