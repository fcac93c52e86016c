"""Picks every token inside vLLM's sampler, just as the transformers engine does.

A token follows from its request's seed and its position alone, so neither a prompt that is read in
chunks nor a request that is put back changes what is said. A constrained continuation walks a trie
of token ids: structured choice over text would be tokenized again and could come out as other
tokens. vLLM takes the log-probs before this runs, so they are the model's own, and then has one
token left to choose.
"""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from vllm.v1.sample.logits_processor import (
    BatchUpdate,
    LogitsProcessor,
    MoveDirectionality,
)

from dyna.engines.choices import TrieNode, build_trie
from dyna.engines.sampling import pick, uniforms
from dyna.engines.vllm.sampling import CHOICES, SEED, TEMPERATURE


@dataclass(slots=True, kw_only=True)
class _Row:
    """A request in the batch."""

    temperature: float
    seed: int
    said: list[int]
    """vLLM's own list of what was said, which it extends."""
    node: TrieNode | None
    """Where in the trie of choices the continuation stands; None when everything may be said."""
    position: int = 0
    """Tokens of `said` already walked."""

    def allowed(self) -> list[int] | None:
        """What may come next; the last token again once a choice is complete."""
        if self.node is None:
            return None
        while self.position < len(self.said) and self.node:
            self.node = self.node[self.said[self.position]]
            self.position += 1
        return list(self.node) or self.said[-1:]


class TokenPicker(LogitsProcessor):
    """Leaves each request of ours the one token that it says next."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, _Row] = {}
        self._order: list[_Row] = []
        # Of the rows in order: [R], so that a step makes none of them again.
        self._numbers: Any = np.zeros(0, dtype=np.int64)
        self._temperatures: Any = np.zeros(0, dtype=np.float32)
        self._seeds: Any = np.zeros(0, dtype=np.uint64)

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the requests as they come, go and change rows, in the order vLLM asks for."""
        if batch_update is None:
            return
        for number in batch_update.removed:
            self._rows.pop(number, None)
        for number, params, _, said in batch_update.added:
            self._add(number, extra=params.extra_args or {}, said=said)
        for source, target, direction in batch_update.moved:
            moved = self._rows.pop(source, None)
            other = self._rows.pop(target, None)
            if moved is not None:
                self._rows[target] = moved
            if other is not None and direction is MoveDirectionality.SWAP:
                self._rows[source] = other
        numbers = sorted(self._rows)
        self._order = [self._rows[number] for number in numbers]
        self._numbers = np.array(numbers, dtype=np.int64)
        self._temperatures = np.array([r.temperature for r in self._order], dtype=np.float32)
        self._seeds = np.array([r.seed for r in self._order], dtype=np.uint64)

    def _add(self, number: int, *, extra: dict[str, Any], said: list[int]) -> None:
        if SEED not in extra:  # not a request of ours
            self._rows.pop(number, None)
            return
        self._rows[number] = _Row(
            temperature=extra[TEMPERATURE],
            seed=extra[SEED],
            said=said,
            node=build_trie(extra[CHOICES]) if extra[CHOICES] else None,
        )

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Minus infinity at all but the token picked. `logits`: [B, V]."""
        if not self._order:
            return logits
        is_whole = len(self._order) == len(logits)
        rows = torch.from_numpy(self._numbers).to(logits.device)
        lengths = np.array([len(row.said) for row in self._order], dtype=np.int64)
        tokens = pick(
            logits if is_whole else logits[rows],
            temperatures=self._temperatures,
            draws=uniforms(self._seeds, positions=lengths),
            allowed=[
                (i, allowed)
                for i, row in enumerate(self._order)
                if (allowed := row.allowed()) is not None
            ],
        )
        if is_whole:
            logits.fill_(-torch.inf)
        else:
            logits[rows] = -torch.inf
        logits[rows, tokens] = 0.0
        return logits
