"""Keeps a continuation inside its choices, token by token, in vLLM's sampler.

A structured choice over text would be tokenized again and could come out as other tokens; a trie
over token ids cannot. Log-probs are taken before this runs, so they are the model's own.
"""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vllm.v1.sample.logits_processor import (
    BatchUpdate,
    LogitsProcessor,
    MoveDirectionality,
)

from dyna.engines.choices import TrieNode, build_trie
from dyna.engines.vllm.sampling import CHOICES


@dataclass(slots=True, kw_only=True)
class _Walk:
    """Where in its trie a continuation stands."""

    node: TrieNode
    said: list[int]
    """vLLM's own list of what was said, which it extends."""
    position: int = 0
    """Tokens of `said` already walked."""

    def allowed(self) -> list[int]:
        """What may come next; the last token again once a choice is complete."""
        while self.position < len(self.said) and self.node:
            self.node = self.node[self.said[self.position]]
            self.position += 1
        return list(self.node) or self.said[-1:]


class ChoicesProcessor(LogitsProcessor):
    """Leaves a constrained request only the tokens that continue one of its choices."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._walks: dict[int, _Walk] = {}  # by row of the batch

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests as they come, go and change rows, in the order vLLM asks for."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._walks.pop(row, None)
        for row, params, _, said in batch_update.added:
            choices: Sequence[Sequence[int]] = (params.extra_args or {}).get(CHOICES, ())
            if choices:
                self._walks[row] = _Walk(node=build_trie(choices), said=said)
            else:
                self._walks.pop(row, None)
        for source, target, direction in batch_update.moved:
            moved = self._walks.pop(source, None)
            other = self._walks.pop(target, None)
            if moved is not None:
                self._walks[target] = moved
            if other is not None and direction is MoveDirectionality.SWAP:
                self._walks[source] = other

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Minus infinity at whatever a constrained row may not say. `logits`: [B, V]."""
        if not self._walks:
            return logits
        rows: list[int] = []
        columns: list[int] = []
        for row, walk in self._walks.items():
            allowed = walk.allowed()
            rows += [row] * len(allowed)
            columns += allowed
        row_index = torch.tensor(rows, device=logits.device)
        column_index = torch.tensor(columns, device=logits.device)
        kept = logits[row_index, column_index]
        logits[torch.tensor(list(self._walks), device=logits.device)] = -torch.inf
        logits[row_index, column_index] = kept
        return logits
