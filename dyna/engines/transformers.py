"""Generation with any transformers decoder: continuous batching over conversations that stay.

Every conversation has a row that keeps the keys and values of all it has said and heard, so a
turn costs only its new tokens. One pump per event loop steps the model while there is work:
each step reads the new suffixes and the last sampled tokens of all rows as one packed sequence.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from dyna.engines.jobs import Job, make_job
from dyna.engines.kv_cache import SlotCache, Span, slot_attention
from dyna.engines.rows import RowTable
from dyna.engines.sampling import sample, uniforms
from dyna.protocols import Completion, GenerationRequest
from dyna.training.weights import put_weights

_QUIET_HOPS = 3
"""Event-loop turns without a new request after which the next step starts."""
_MAX_HOPS = 32
_MIN_SHARED = 32
"""Tokens that two conversations must share before copying them is worth it."""
_SEED_MASK = (1 << 64) - 1


@dataclass(slots=True, kw_only=True)
class EngineStats:
    """Counts since the engine was made."""

    tokens_read: int = 0
    """Prompt tokens forwarded; those found in the cache are not."""
    tokens_copied: int = 0
    """Prompt tokens that another conversation had read."""
    tokens_generated: int = 0
    steps: int = 0
    """Forward passes."""
    evictions: int = 0
    """Conversations dropped to make room for others."""


class TransformersEngine:
    """Generates with a causal language model, many conversations at once.

    The model must attend to its whole context in every layer: sliding windows and recurrent
    layers are refused. Use it from one thread; one event loop at a time, any number in turn.

    Example: `TransformersEngine(model, max_batch=64, max_context=512)`
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        max_batch: int = 64,
        max_context: int,
        max_read: int = 4096,
        version: int = 0,
    ) -> None:
        """
        Args:
            model: A decoder, in the dtype and on the device it shall run.
            max_batch: Conversations held and answered at once; more requests wait.
            max_context: Tokens of a conversation, prompt and continuation together.
            max_read: Prompt tokens after which a forward pass takes no further prompt.
            version: Of the model's weights.

        Raises:
            ValueError: for bounds below 1, or a model with layers that cannot be held in slots.
        """
        for name, value in (("max_batch", max_batch), ("max_read", max_read)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if max_context < 2:
            raise ValueError(f"max_context must be >= 2, got {max_context}")
        _check_attention(model, max_context=max_context)
        self._model = model
        self._max_context = max_context
        self._max_read = max_read
        embeddings: Any = model.get_input_embeddings()
        self._vocab_size: int = embeddings.weight.shape[0]
        self._cache = SlotCache(
            num_rows=max_batch, max_context=max_context, dtype=model.dtype, device=model.device
        )
        self._rows = RowTable(num_rows=max_batch, max_context=max_context)
        # Of the request in each row: [R], so that a step gathers them by one index.
        self._temperatures = np.zeros(max_batch, dtype=np.float32)
        self._seeds = np.zeros(max_batch, dtype=np.uint64)
        self._num_said = np.zeros(max_batch, dtype=np.int64)
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        self._open: set[Job] = set()
        self._arrivals = 0
        self._pump: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.weights_version = version
        self.stats = EngineStats()
        self._probe()

    async def generate(self, request: GenerationRequest) -> Completion:
        """Sample one continuation of the prompt.

        Raises:
            ValueError: for a prompt that is empty or leaves no room in `max_context`, and for
                any field of the request that makes no sense.
            RuntimeError: when another running event loop is using the engine.
        """
        job = make_job(request, vocab_size=self._vocab_size, max_context=self._max_context)
        self._ensure_pump()
        self._waiting.append(job)
        self._arrivals += 1
        self._open.add(job)
        try:
            return await job.future
        finally:
            self._open.discard(job)

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        """Copy weights into the model; requests under way start again from their prompts.

        They are a state dict, or the tensors of its adapter where the model has one.

        Raises:
            ValueError: for unknown or missing names or wrong shapes; nothing is loaded then.
        """
        put_weights(self._model, weights)
        self.weights_version = version
        for job in reversed(self._running.values()):
            job.restart()
            self._waiting.appendleft(job)
        self._forget_all()

    def _ensure_pump(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._loop.is_running():
                raise RuntimeError("the engine is in use by another running event loop")
            # A loop that ended left its requests behind; nobody waits for them any more.
            for row in list(self._running):
                self._leave(row)
            self._waiting.clear()
            self._open.clear()
            self._loop, self._pump = loop, None
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._run(), name="engine pump")

    async def _run(self) -> None:
        """Step while there is work. What breaks reaches everybody who waits."""
        try:
            self._model.eval()
            while self._waiting or self._running:
                await self._let_requests_arrive()
                self._drop_cancelled()
                if self._waiting or self._running:
                    self._step()
        except Exception as error:
            self._abandon(error)
        except asyncio.CancelledError:
            self._abandon(None)
            raise

    async def _let_requests_arrive(self) -> None:
        """Run every ready coroutine first, so that many conversations share the next step."""
        quiet = 0
        for _ in range(_MAX_HOPS):
            before = self._arrivals
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._arrivals == before else 0
            if quiet == _QUIET_HOPS:
                return

    def _drop_cancelled(self) -> None:
        for row in [row for row, job in self._running.items() if job.future.done()]:
            self._leave(row)
        if any(job.future.done() for job in self._waiting):
            self._waiting = deque(job for job in self._waiting if not job.future.done())

    def _abandon(self, error: Exception | None) -> None:
        """Give up on all requests; without an error they are cancelled."""
        self._waiting.clear()
        self._forget_all()
        for job in self._open:
            job.fail(error)

    def _forget_all(self) -> None:
        self._running.clear()
        self._rows.forget_all()
        self._cache.clear()

    def _leave(self, row: int) -> None:
        del self._running[row]
        self._rows.release(row)

    @torch.inference_mode()
    def _step(self) -> None:
        """One forward pass: read what is new, sample one token per row, let the done ones go."""
        spans: list[Span] = []
        tokens: dict[int, NDArray[np.int64] | list[int]] = {}
        for row, job in self._running.items():
            spans.append(Span(row=row, start=int(self._rows.lengths[row]), length=1))
            tokens[row] = job.token_ids[-1:]
        for row, job in self._admit():
            start = int(self._rows.lengths[row])
            tokens[row] = job.prompt[start:]
            spans.append(Span(row=row, start=start, length=len(job.prompt) - start))
            self.stats.tokens_read += len(job.prompt) - start
            self._enter(row, job=job)
        spans.sort(key=lambda span: (span.length > 1, span.row))
        for span in spans:
            end = span.start + span.length
            self._rows.ids[span.row, span.start : end] = tokens[span.row]
            self._rows.lengths[span.row] = end
        packed = np.concatenate([tokens[span.row] for span in spans], dtype=np.int64)
        logits = self._forward(packed, spans=spans)
        self._take_tokens(np.array([span.row for span in spans]), logits=logits)

    def _enter(self, row: int, *, job: Job) -> None:
        self._running[row] = job
        self._temperatures[row] = job.request.temperature
        self._seeds[row] = job.request.seed & _SEED_MASK
        self._num_said[row] = 0

    def _admit(self) -> list[tuple[int, Job]]:
        """Give waiting requests rows: those whose conversation is held, then the others.

        Whoever shares most of a prompt with a request admitted in the same step waits for the
        next one, when a copy costs less than reading.
        """
        budget = self._max_read
        num_idle = self._rows.num_idle
        admitted: list[tuple[int, Job]] = []
        newcomers: list[Job] = []
        while self._waiting and len(admitted) + len(newcomers) < num_idle and budget > 0:
            job = self._waiting.popleft()
            row = self._rows.take_held(job.request.conversation_id)
            if row is None:
                newcomers.append(job)
                budget -= len(job.prompt)
                continue
            # The last prompt token is read in any case: its logits say what comes next.
            kept = min(self._rows.common_prefix(row, prompt=job.prompt), len(job.prompt) - 1)
            self._rows.lengths[row] = kept
            budget -= len(job.prompt) - kept
            admitted.append((row, job))
        leaders: list[Job] = []
        followers: list[Job] = []
        for job in newcomers:
            source, shared = self._rows.best_prefix(job.prompt[:-1])
            unread = len(job.prompt) - shared
            if any(
                _num_equal(job.prompt, other.prompt) - shared > unread // 2 for other in leaders
            ):
                followers.append(job)
                continue
            admitted.append((self._take_row(job, source=source, shared=shared), job))
            if unread >= _MIN_SHARED:
                leaders.append(job)
        self._waiting.extendleft(reversed(followers))
        return admitted

    def _take_row(self, job: Job, *, source: int, shared: int) -> int:
        """A row for a conversation that is not held, with what another row shares with it."""
        row, is_evicted = self._rows.take_new(job.request.conversation_id)
        self.stats.evictions += is_evicted
        if shared >= _MIN_SHARED:
            self._cache.copy_prefix(source, target=row, length=shared)
            self._rows.ids[row, :shared] = job.prompt[:shared]
            self._rows.lengths[row] = shared
            self.stats.tokens_copied += shared
        return row

    @torch.inference_mode()
    def _forward(self, token_ids: NDArray[np.int64], *, spans: list[Span]) -> torch.Tensor:
        """Logits [number of spans, V] after the last token of each span."""
        device = self._model.device
        plan = self._cache.prepare(spans)
        with slot_attention(self._model):
            output = self._model(
                input_ids=torch.from_numpy(token_ids).to(device)[None],
                position_ids=plan.positions[None],
                use_cache=False,
                logits_to_keep=plan.last,
                slots=self._cache,
            )
        self.stats.steps += 1
        return output.logits[0]

    def _take_tokens(self, rows: NDArray[np.int64], *, logits: torch.Tensor) -> None:
        numbers = rows.tolist()
        jobs = [self._running[row] for row in numbers]
        tokens, log_probs = sample(
            logits,
            temperatures=self._temperatures[rows],
            draws=uniforms(self._seeds[rows], positions=self._num_said[rows]),
            allowed=[(i, list(job.node)) for i, job in enumerate(jobs) if job.node is not None],
        )
        if not np.isfinite(log_probs).all():
            raise FloatingPointError(
                f"the model's logits are not finite (weights version {self.weights_version})"
            )
        self._num_said[rows] += 1
        self.stats.tokens_generated += len(jobs)
        for row, job, token, log_prob in zip(
            numbers, jobs, tokens.tolist(), log_probs.tolist(), strict=True
        ):
            finished = job.take(token, log_prob=log_prob)
            if finished or job.is_full:
                self._leave(row)
                job.complete(finished=finished, weights_version=self.weights_version)

    def _probe(self) -> None:
        """Read one token, to learn before anything starts whether the model's layers fit."""
        logits = self._forward(np.zeros(1, dtype=np.int64), spans=[Span(row=0, start=0, length=1)])
        num_layers = self._model.config.get_text_config().num_hidden_layers
        if self._cache.layers != set(range(num_layers)):
            raise ValueError(
                f"{type(self._model).__name__} has layers without plain attention (recurrent or "
                f"shared ones): only layers {sorted(self._cache.layers)} of {num_layers} attend"
            )
        if logits.shape[0] != 1:
            raise ValueError(f"{type(self._model).__name__} does not heed logits_to_keep")
        self.stats = EngineStats()


def _num_equal(first: NDArray[np.int64], second: NDArray[np.int64]) -> int:
    """Length of the common prefix."""
    length = min(len(first), len(second))
    differs = first[:length] != second[:length]
    return int(differs.argmax()) if differs.any() else length


def _check_attention(model: PreTrainedModel, *, max_context: int) -> None:
    name = type(model).__name__
    if not model._supports_attention_backend:  # pyright: ignore[reportPrivateUsage]
        raise ValueError(f"{name} does not let its attention be replaced; use another model")
    config = model.config.get_text_config().to_dict()
    kinds = set(config.get("layer_types") or ()) - {"full_attention"}
    if kinds:
        raise ValueError(
            f"{name} has layers of kind {sorted(kinds)}; only full_attention can be held in slots"
        )
    window = config.get("sliding_window")
    is_used = config.get("use_sliding_window", True) and not config.get("layer_types")
    if window is not None and is_used and window < max_context:
        raise ValueError(f"{name} attends to {window} tokens only, but max_context={max_context}")
    limit = config.get("max_position_embeddings")
    if limit is not None and limit < max_context:
        raise ValueError(f"max_context={max_context}, but {name} knows only {limit} positions")
