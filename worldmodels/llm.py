"""A language model as the world: it reads the transcript and writes what happens next.

World modeling is next-message prediction in a conversation whose user is the agent ("From Word to
World", arXiv 2512.18832), extended by a typed verdict on reward and ending (`dyna.grammar`).
"""

from __future__ import annotations

from dataclasses import replace

from dyna.grammar import read_answer
from dyna.protocols import Engine, GenerationRequest
from dyna.rendering import ContextOverflow, Renderer
from dyna.types import Action, Context, Outcome, StopReason
from worldmodels.confidence import Confidence, confidence


class LLMWorldModel:
    """Predicts observation, reward and ending with whatever weights `engine` holds.

    `temperature` 0 is greedy. A prediction carries its sampled tokens, and as confidence the
    probability of its least likely token (`Confidence.MIN`) or their geometric mean
    (`Confidence.MEAN`), at temperature 1.
    """

    def __init__(
        self,
        engine: Engine,
        renderer: Renderer,
        *,
        use_hidden_state: bool = True,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        confidence_kind: str = Confidence.MIN,
    ) -> None:
        if max_new_tokens < 1:
            raise ValueError(f"world_model.max_new_tokens must be >= 1, got {max_new_tokens}")
        if temperature < 0:
            raise ValueError(f"world_model temperature must be >= 0, got {temperature}")
        self._engine = engine
        self._renderer = renderer
        self._use_hidden_state = use_hidden_state
        self._max_new_tokens = max_new_tokens
        self._temperature = temperature
        self._confidence_kind = Confidence(confidence_kind)

    @property
    def version(self) -> int:
        """Of the weights that the engine holds."""
        return self._engine.weights_version

    async def predict(self, context: Context, action: Action) -> Outcome:
        """The answer to `action`. Text that is no answer, or was cut, has `stop=UNPARSEABLE`; a
        transcript without room for one has `stop=CONTEXT_FULL`."""
        try:
            prompt = self._renderer.answer_prompt(
                context, action, use_hidden_state=self._use_hidden_state
            )
        except ContextOverflow:
            return Outcome(observation="", stop=StopReason.CONTEXT_FULL, confidence=0.0)
        completion = await self._engine.generate(
            GenerationRequest(
                conversation_id=f"model:{context.episode_id}",
                prompt_ids=prompt,
                max_new_tokens=self._max_new_tokens,
                stop_ids=self._renderer.stop_ids,
                temperature=self._temperature,
                seed=context.seed,
            )
        )
        text = self._renderer.decode(completion.token_ids)
        sureness = confidence(completion.log_probs, kind=self._confidence_kind)
        if not completion.finished:
            return Outcome(
                observation=text,
                stop=StopReason.UNPARSEABLE,
                confidence=sureness,
                token_ids=completion.token_ids,
            )
        return replace(read_answer(text), confidence=sureness, token_ids=completion.token_ids)


__all__ = ["LLMWorldModel"]
