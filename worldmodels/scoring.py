"""A language world model beside real episodes, every turn in one forward pass.

Under greedy decoding a model writes a turn exactly if and only if, fed the true tokens, its
arg-max is right at every token of the turn. So nothing has to be generated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from dyna.evaluation.fidelity import TurnScore
from dyna.grammar import read_answer
from dyna.rendering import Renderer
from dyna.training.losses import target_distribution
from dyna.training.packing import can_pack, num_trained_tokens, pack
from dyna.types import Source, StopReason, TrainingSample, Trajectory, Turn
from worldmodels.confidence import Confidence, confidence

_log = logging.getLogger(__name__)

_MAX_ROW_TOKENS = 4096
_MAX_LOGITS = 2**24
"""Numbers in the largest logit matrix: 64 MiB of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One episode to score, and how many tokens each of its answers has."""

    trajectory: Trajectory
    sample: TrainingSample
    answer_lengths: tuple[int, ...]  # [N]


def score_turns(
    model: PreTrainedModel,
    renderer: Renderer,
    trajectories: Sequence[Trajectory],
    *,
    use_hidden_state: bool,
    confidence_kind: Confidence = Confidence.MIN,
) -> list[TurnScore]:
    """One score per turn, in order. Episodes that failed, or do not fit the context, are left out.

    What the arg-max tokens say is read turn by turn; after a first wrong token the rest is what
    the model would write after the true text, so a verdict is judged given the true observation.
    Confidence is that of the arg-max tokens up to the first wrong one. Raises `ValueError` on
    imagined episodes.
    """
    jobs = _make_jobs(renderer, trajectories, use_hidden_state=use_hidden_state)
    scores: list[list[TurnScore]] = [[] for _ in jobs]
    vocab_size = model.config.get_text_config().vocab_size
    # Longest first is the order in which `pack` lays samples into a row.
    order = sorted(range(len(jobs)), key=lambda i: num_trained_tokens(jobs[i].sample), reverse=True)
    max_tokens = _MAX_ROW_TOKENS if can_pack(model) else 1
    for chunk in _chunks(jobs, order, max_tokens=max_tokens, max_targets=_MAX_LOGITS // vocab_size):
        best, log_probs, of_truth = _predict(model, [jobs[i].sample for i in chunk])
        first = 0
        for i in chunk:
            job = jobs[i]
            for turn, length in zip(job.trajectory.turns, job.answer_lengths, strict=True):
                span = slice(first, first + length)
                scores[i].append(
                    _score(
                        renderer,
                        turn,
                        trajectory_id=job.trajectory.id,
                        predicted=best[span],
                        log_probs=log_probs[span],
                        loss=max(0.0, -sum(of_truth[span])),
                        kind=confidence_kind,
                    )
                )
                first += length
    return [score for of_episode in scores for score in of_episode]


def _make_jobs(
    renderer: Renderer, trajectories: Sequence[Trajectory], *, use_hidden_state: bool
) -> list[_Job]:
    jobs: list[_Job] = []
    num_too_long = 0
    for trajectory in trajectories:
        if trajectory.source is not Source.REAL:
            raise ValueError(
                f"a model is scored on real episodes, but {trajectory.id!r} is {trajectory.source}"
            )
        if trajectory.stop.is_failure or not trajectory.turns:
            continue
        sample = renderer.model_sample(trajectory, use_hidden_state=use_hidden_state)
        if sample is None:
            num_too_long += 1
            continue
        lengths = tuple(len(renderer.encode_answer(turn.outcome)) for turn in trajectory.turns)
        jobs.append(_Job(trajectory=trajectory, sample=sample, answer_lengths=lengths))
    if num_too_long:
        _log.warning("%d episodes do not fit max_context and are not scored", num_too_long)
    return jobs


def _chunks(
    jobs: Sequence[_Job], order: Sequence[int], *, max_tokens: int, max_targets: int
) -> Iterator[list[int]]:
    """Runs of `order` within the bounds; an episode beyond a bound is a run of its own."""
    chunk: list[int] = []
    tokens = targets = 0
    for i in order:
        more_tokens = num_trained_tokens(jobs[i].sample)
        more_targets = sum(jobs[i].answer_lengths)
        if chunk and (tokens + more_tokens > max_tokens or targets + more_targets > max_targets):
            yield chunk
            chunk, tokens, targets = [], 0, 0
        chunk.append(i)
        tokens += more_tokens
        targets += more_targets
    if chunk:
        yield chunk


@torch.inference_mode()
def _predict(
    model: PreTrainedModel, samples: Sequence[TrainingSample]
) -> tuple[list[int], list[float], list[float]]:
    """The arg-max token, its log-prob and that of the true one, wherever a sample has cross
    entropy; sample by sample.

    `samples` come longest first; they are one row.
    """
    bound = sum(len(sample.token_ids) for sample in samples)
    (row,) = pack(samples, max_tokens=bound, max_targets=bound, device=model.device)
    log_probs = target_distribution(model, row=row)
    values, indices = log_probs.max(dim=1)
    of_truth = log_probs.gather(1, row.targets[:, None])[:, 0]
    return indices.tolist(), values.tolist(), of_truth.tolist()


def _score(
    renderer: Renderer,
    turn: Turn,
    *,
    trajectory_id: str,
    predicted: Sequence[int],  # [O]
    log_probs: Sequence[float],  # [O]
    loss: float,
    kind: Confidence,
) -> TurnScore:
    real = turn.outcome
    truth = renderer.encode_answer(real)
    wrong = next((i for i, (a, b) in enumerate(zip(predicted, truth, strict=True)) if a != b), None)
    said = real if wrong is None else read_answer(renderer.decode(predicted))
    is_answer = said.stop is not StopReason.UNPARSEABLE
    return TurnScore(
        exact=wrong is None,
        observation_exact=is_answer and said.observation.strip() == real.observation.strip(),
        reward_exact=is_answer and f"{said.reward:g}" == f"{real.reward:g}",
        termination_exact=is_answer and said.terminated == real.terminated,
        confidence=confidence(log_probs if wrong is None else log_probs[: wrong + 1], kind=kind),
        predicted_success=is_answer and said.success,
        success=real.success,
        kind=turn.action.command.split(maxsplit=1)[0] if turn.action.command.strip() else "",
        valid=real.valid,
        depth=1,
        trajectory_id=trajectory_id,
        loss=loss,
    )


__all__ = ["score_turns"]
