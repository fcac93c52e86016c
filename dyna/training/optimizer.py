"""AdamW whose weights, gradients and moments are float32, whatever the model computes in.

A bfloat16 number has eight bits of precision: a step of less than 1/256 of a weight would be lost,
and so would most of what the passes of one step add up. A model in bfloat16 therefore keeps a
float32 master of each trained weight, and is a rounded image of it; its gradients are moved into
float32 as they appear. That is what a float32 model with bfloat16 autocast holds too, but here
whoever scores, pushes or generates sees the very weights that were trained.
"""

# torch leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel

from dyna.config import OptimizerConfig
from dyna.training.penalties import Penalty
from dyna.training.sharding import local, rows_of, whole

MASTER = "master"
"""The float32 weight itself, beside AdamW's `step`, `exp_avg` and `exp_avg_sq`."""


class MasterAdamW:
    """The optimizer of a model's trainable parameters; see the module."""

    def __init__(self, model: PreTrainedModel, *, config: OptimizerConfig) -> None:
        self._config = config
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        """The model's own, by name."""
        # Made when the first gradient appears: a model that is only looked at needs none.
        self._masters: dict[str, Parameter] = {}
        self._adamw: torch.optim.AdamW | None = None
        for name, parameter in self.parameters.items():
            if parameter.dtype != torch.float32:
                parameter.register_post_accumulate_grad_hook(self._taker(name))

    def touched(self) -> list[Parameter]:
        """What AdamW steps, in float32: those with a gradient."""
        found = [self._trained(name) for name in self.parameters]
        return [parameter for parameter in found if parameter.grad is not None]

    def fill_gradients(self) -> list[Tensor]:
        """The gradients of all, zeros where there are none yet."""
        found: list[Tensor] = []
        for name in self.parameters:
            trained = self._make_trained(name)
            if trained.grad is None:
                trained.grad = torch.zeros_like(trained)
            found.append(trained.grad)
        return found

    @torch.no_grad()
    def add_penalties(self, penalties: Sequence[Penalty]) -> None:
        """Add their gradients to those of the loss; a weight that the loss passed by is pulled too.

        A sharded weight is gathered, one at a time: all peers must call it.
        """
        if not penalties:
            return
        self.fill_gradients()
        for name in self.parameters:
            trained = self._trained(name)
            weight, rows = whole(trained.detach()), rows_of(trained)
            assert trained.grad is not None
            for penalty in penalties:
                pull = penalty.gradient(name, weight=weight)
                if pull is not None:
                    local(trained.grad).add_(pull if rows is None else pull[rows[0] : rows[1]])

    def zero_grad(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.grad = None
            self._trained(name).grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        adamw = self._made()
        for group in adamw.param_groups:
            group["lr"] = learning_rate
        adamw.step()
        for name, master in self._masters.items():
            self.parameters[name].copy_(master)
        self.zero_grad()

    def state(self) -> dict[str, Tensor]:
        """`{parameter}/{field}` of everything that is not in the model's own weights."""
        moments = self._adamw.state if self._adamw is not None else {}
        return {
            **{f"{name}/{MASTER}": master.detach() for name, master in self._masters.items()},
            **{
                f"{name}/{field}": tensor
                for name in self.parameters
                for field, tensor in moments.get(self._trained(name), {}).items()
            },
        }

    @torch.no_grad()
    def load_state(self, tensors: Iterable[tuple[str, Tensor]]) -> None:
        """Take over what `state` gave for the same model, of which these are the own rows.

        Names and shapes are not checked. They may come one by one, as they are read.
        """
        self.forget()
        for key, tensor in tensors:
            name, _, field = key.rpartition("/")
            trained = self._make_trained(name)
            if field == MASTER:
                local(trained).copy_(tensor)
            elif field == "step":
                # AdamW keeps its step count where the weights are, for it is fused.
                self._made().state[trained][field] = tensor.to(trained.device)
            else:
                moment = torch.zeros_like(trained)
                local(moment).copy_(tensor)
                self._made().state[trained][field] = moment

    def forget(self) -> None:
        """Start afresh from the weights that the model has now."""
        self._adamw = None
        self._masters = {}

    def _taker(self, name: str) -> Callable[[Tensor], None]:
        def take(parameter: Tensor) -> None:
            """Move a gradient that the backward pass has just finished into float32."""
            master, gradient = self._make_trained(name), parameter.grad
            if gradient is not None:
                if master.grad is None:
                    master.grad = gradient.float()
                else:
                    master.grad += gradient
            parameter.grad = None

        return take

    def _trained(self, name: str) -> Parameter:
        """What AdamW steps: the master where there is one."""
        return self._masters.get(name, self.parameters[name])

    def _make_trained(self, name: str) -> Parameter:
        parameter = self.parameters[name]
        if parameter.dtype != torch.float32 and name not in self._masters:
            self._masters[name] = Parameter(parameter.detach().float())
        return self._trained(name)

    def _made(self) -> torch.optim.AdamW:
        if self._adamw is None:
            trained = [self._make_trained(name) for name in self.parameters]
            self._adamw = torch.optim.AdamW(
                [
                    {
                        "params": [p for p in trained if p.ndim >= 2],
                        "weight_decay": self._config.weight_decay,
                    },
                    {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
                ],
                lr=self._config.learning_rate,
                betas=(self._config.beta1, self._config.beta2),
                fused=True,
            )
        return self._adamw
