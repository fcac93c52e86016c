"""Generation with any transformers decoder: continuous batching over conversations that stay.

Every conversation has a row that keeps the keys and values of all it has said and heard, so a
turn costs only its new tokens. One pump per event loop steps the model while there is work:
each step reads the new suffixes and the last sampled tokens of all rows as one packed sequence.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from dyna.engines.choices import TrieNode, build_trie
from dyna.engines.kv_cache import SlotCache, Span, slot_attention
from dyna.engines.rows import RowTable
from dyna.engines.sampling import sample, uniforms
from dyna.protocols import Completion, GenerationRequest

_QUIET_HOPS = 3
"""Event-loop turns without a new request after which the next step starts."""
_MAX_HOPS = 32
_SEED_MASK = (1 << 64) - 1


@dataclass(slots=True, kw_only=True)
class EngineStats:
    """Counts since the engine was made."""

    tokens_read: int = 0
    """Prompt tokens forwarded, those taken from the cache not included."""
    tokens_generated: int = 0
    steps: int = 0
    """Forward passes."""
    evictions: int = 0
    """Conversations dropped to make room for others."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Job:
    """A request on its way."""

    request: GenerationRequest
    prompt: np.ndarray[Any, np.dtype[np.int64]]  # [P]
    future: asyncio.Future[Completion]
    limit: int
    """Most tokens that may be generated."""
    stop_ids: frozenset[int]
    trie: TrieNode | None
    node: TrieNode | None = None
    """Where in the trie the continuation stands; None when it is free."""
    token_ids: list[int] = field(default_factory=list[int])
    log_probs: list[float] = field(default_factory=list[float])

    def restart(self) -> None:
        self.node = self.trie
        self.token_ids.clear()
        self.log_probs.clear()


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
            max_read: Prompt tokens read in one forward pass; more requests wait a step.
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
        self._max_batch = max_batch
        self._max_context = max_context
        self._max_read = max_read
        self._vocab_size = model.get_input_embeddings().weight.shape[0]
        self._cache = SlotCache(
            num_rows=max_batch, max_context=max_context, dtype=model.dtype, device=model.device
        )
        self._rows = RowTable(num_rows=max_batch, max_context=max_context)
        self._waiting: deque[_Job] = deque()
        self._running: dict[int, _Job] = {}
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
        job = self._make_job(request)
        self._waiting.append(job)
        self._arrivals += 1
        self._ensure_pump()
        return await job.future

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        """Copy a state dict into the model; requests under way start again from their prompts.

        Raises:
            ValueError: for unknown or missing names or wrong shapes; nothing is loaded then.
        """
        own = self._model.state_dict()
        unknown = sorted(set(weights) - set(own))
        if unknown:
            raise ValueError(f"weights has names the model lacks, first of all {unknown[0]!r}")
        given = {own[name].data_ptr() for name in weights}
        missing = [name for name, tensor in own.items() if tensor.data_ptr() not in given]
        if missing:
            raise ValueError(f"weights lacks {len(missing)} names, first of all {missing[0]!r}")
        for name, tensor in weights.items():
            if tuple(tensor.shape) != tuple(own[name].shape):
                raise ValueError(
                    f"weights[{name!r}] must have shape {tuple(own[name].shape)}, "
                    f"got {tuple(tensor.shape)}"
                )
        with torch.no_grad():
            for name, tensor in weights.items():
                own[name].copy_(tensor)
        self.weights_version = version
        for job in reversed(self._running.values()):
            job.restart()
            self._waiting.appendleft(job)
        self._running.clear()
        self._forget_all()

    def _make_job(self, request: GenerationRequest) -> _Job:
        self._check_request(request)
        prompt = np.array(request.prompt_ids, dtype=np.int64)
        if prompt.min() < 0 or prompt.max() >= self._vocab_size:
            raise ValueError(
                f"prompt_ids must lie in [0, {self._vocab_size}), "
                f"got {prompt.min()} to {prompt.max()}"
            )
        limit = min(request.max_new_tokens, self._max_context - len(prompt))
        trie = None
        if request.choices:
            trie = build_trie(request.choices)
            longest = max(map(len, request.choices))
            if longest > limit:
                raise ValueError(
                    f"the longest choice has {longest} tokens, but only {limit} may be generated; "
                    "raise max_new_tokens or max_context, or shorten the prompt"
                )
        return _Job(
            request=request,
            prompt=prompt,
            future=asyncio.get_running_loop().create_future(),
            limit=limit,
            stop_ids=frozenset(request.stop_ids),
            trie=trie,
            node=trie,
        )

    def _check_request(self, request: GenerationRequest) -> None:
        length = len(request.prompt_ids)
        if length == 0:
            raise ValueError("prompt_ids must not be empty")
        if length >= self._max_context:
            raise ValueError(
                f"a prompt of {length} tokens leaves no room in max_context={self._max_context}; "
                "shorten it or raise max_context"
            )
        if request.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be >= 1, got {request.max_new_tokens}")
        if not 0.0 <= request.temperature < float("inf"):
            raise ValueError(f"temperature must be >= 0 and finite, got {request.temperature}")
        for choice in request.choices:
            if any(not 0 <= token < self._vocab_size for token in choice):
                raise ValueError(
                    f"choice {choice} has tokens outside of the vocabulary [0, {self._vocab_size})"
                )

    def _ensure_pump(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and self._loop.is_running() and self._running:
                raise RuntimeError("the engine is in use by another running event loop")
            # A loop that ended left its requests behind; nobody waits for them any more.
            for row in list(self._running):
                self._leave(row)
            self._waiting = deque(job for job in self._waiting if job.future.get_loop() is loop)
            self._loop, self._pump = loop, None
        if self._pump is None or self._pump.done():
            self._pump = loop.create_task(self._run(), name="engine pump")

    async def _run(self) -> None:
        """Step while there is work. What breaks reaches everybody who waits."""
        self._model.eval()
        try:
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
        jobs = [*self._running.values(), *self._waiting]
        self._running.clear()
        self._waiting.clear()
        self._forget_all()
        for job in jobs:
            if job.future.done() or job.future.get_loop().is_closed():
                continue
            if error is None:
                job.future.cancel()
            else:
                job.future.set_exception(error)

    def _forget_all(self) -> None:
        self._rows.forget_all()
        self._cache.clear()

    def _leave(self, row: int) -> None:
        del self._running[row]
        self._rows.release(row)

    def _step(self) -> None:
        """One forward pass: read what is new, sample one token per row, let the done ones go."""
        spans = [
            Span(row=row, start=int(self._rows.lengths[row]), length=1) for row in self._running
        ]
        tokens = {row: job.token_ids[-1:] for row, job in self._running.items()}
        for row, job in self._admit():
            start = int(self._rows.lengths[row])
            suffix = job.prompt[start:]
            spans.append(Span(row=row, start=start, length=len(suffix)))
            tokens[row] = suffix
            self.stats.tokens_read += len(suffix)
            self._running[row] = job
        spans.sort(key=lambda span: (span.length > 1, span.row))
        for span in spans:
            end = span.start + span.length
            self._rows.ids[span.row, span.start : end] = tokens[span.row]
            self._rows.lengths[span.row] = end
        packed = np.concatenate([tokens[span.row] for span in spans])
        logits = self._forward(packed, spans=spans)
        self._take_tokens([span.row for span in spans], logits=logits)

    def _admit(self) -> list[tuple[int, _Job]]:
        """Give waiting requests rows, conversations that are held first."""
        budget, num_admitted = self._max_read, 0
        admitted: list[tuple[int, _Job]] = []
        newcomers: list[_Job] = []
        num_idle = self._rows.num_idle
        while self._waiting and num_admitted < num_idle and budget > 0:
            job = self._waiting.popleft()
            num_admitted += 1
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
        for job in newcomers:
            row, is_evicted = self._rows.take_new(job.request.conversation_id)
            self.stats.evictions += is_evicted
            admitted.append((row, job))
        return admitted

    @torch.inference_mode()
    def _forward(self, token_ids: np.ndarray[Any, Any], *, spans: list[Span]) -> torch.Tensor:
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
        self._cache.plan = None
        self.stats.steps += 1
        return output.logits[0]

    @torch.inference_mode()
    def _take_tokens(self, rows: list[int], *, logits: torch.Tensor) -> None:
        jobs = [self._running[row] for row in rows]
        token_ids, log_probs = sample(
            logits,
            temperatures=np.array([job.request.temperature for job in jobs], dtype=np.float32),
            draws=uniforms(
                np.array([job.request.seed & _SEED_MASK for job in jobs], dtype=np.uint64),
                positions=np.array([len(job.token_ids) for job in jobs]),
            ),
            allowed=[(i, list(job.node)) for i, job in enumerate(jobs) if job.node is not None],
        )
        if not np.isfinite(log_probs).all():
            raise FloatingPointError(
                f"the model's logits are not finite (weights version {self.weights_version})"
            )
        self.stats.tokens_generated += len(jobs)
        for row, job, token, log_prob in zip(
            rows, jobs, token_ids.tolist(), log_probs.tolist(), strict=True
        ):
            job.token_ids.append(token)
            job.log_probs.append(log_prob)
            if job.node is not None:
                job.node = job.node[token]
                is_finished = not job.node
            else:
                is_finished = token in job.stop_ids
            if is_finished or len(job.token_ids) >= job.limit:
                self._leave(row)
                self._complete(job, is_finished=is_finished)

    def _complete(self, job: _Job, *, is_finished: bool) -> None:
        if job.future.done():
            return
        job.future.set_result(
            Completion(
                token_ids=tuple(job.token_ids),
                log_probs=tuple(job.log_probs),
                finished=is_finished,
                weights_version=self.weights_version,
            )
        )

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


def _check_attention(model: PreTrainedModel, *, max_context: int) -> None:
    name = type(model).__name__
    if not model._supports_attention_backend:  # pyright: ignore
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
