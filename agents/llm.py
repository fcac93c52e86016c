"""A language model as a policy: what it says is sampled by an engine, a parser finds the command.

Whatever the model says, the episode goes on: text without a command becomes the empty command,
which the world answers like any other it does not know.
"""

from __future__ import annotations

from agents.parsers import Parser, parse_plain
from dyna.config import ActionMode
from dyna.protocols import Completion, Engine, GenerationRequest
from dyna.rendering import ContextOverflow, Renderer
from dyna.types import Action, Context


class LLMPolicy:
    """Samples actions with `engine`; greedy where the context says so.

    Example: `LLMPolicy(engine, renderer=renderer, actions=ActionMode.ADMISSIBLE)`

    The sampled tokens and their log-probs stay with the action, as sampled, even when the model
    did not finish, and so does the version of the weights that said them, which may change within
    an episode. Raises `ContextOverflow` when the transcript leaves no room for an action.
    """

    def __init__(
        self,
        engine: Engine,
        renderer: Renderer,
        *,
        actions: ActionMode = ActionMode.FREE,
        parser: Parser = parse_plain,
        temperature: float = 1.0,
        max_new_tokens: int = 16,
        version: int = 0,
    ) -> None:
        if temperature < 0:
            raise ValueError(f"policy.temperature must be >= 0, got {temperature}")
        if max_new_tokens < 1:
            raise ValueError(f"policy.max_new_tokens must be >= 1, got {max_new_tokens}")
        self.version = version
        self._engine = engine
        self._renderer = renderer
        self._actions = actions
        self._parser = parser
        self._temperature = temperature
        self._max_new_tokens = max_new_tokens

    async def act(self, context: Context) -> Action:
        prompt = self._renderer.action_prompt(context)
        room = self._renderer.max_context - len(prompt)
        constrained = self._actions is ActionMode.ADMISSIBLE and bool(context.admissible)
        choices = self._choices(context, room=room) if constrained else {}
        completion = await self._engine.generate(
            GenerationRequest(
                conversation_id=f"policy:{context.episode_id}",
                prompt_ids=prompt,
                max_new_tokens=max(map(len, choices))
                if choices
                else min(self._max_new_tokens, room),
                stop_ids=self._renderer.stop_ids,
                temperature=0.0 if context.greedy else self._temperature,
                seed=context.seed,
                choices=tuple(choices),
            )
        )
        text = self._renderer.decode(completion.token_ids)
        command = choices[completion.token_ids] if choices else self._parser(text)
        return self._action(completion, text=text, command=command)

    def _choices(self, context: Context, *, room: int) -> dict[tuple[int, ...], str]:
        """The admissible commands that fit, by their tokens."""
        encoded = {self._renderer.encode_action(c): c for c in context.admissible or ()}
        fitting = {tokens: command for tokens, command in encoded.items() if len(tokens) <= room}
        if not fitting:
            raise ContextOverflow(
                f"none of {len(encoded)} admissible commands fits the {room} tokens left of "
                f"max_context={self._renderer.max_context}; raise max_context"
            )
        return fitting

    def _action(self, completion: Completion, *, text: str, command: str) -> Action:
        return Action(
            command=command,
            text="" if text == command else text,
            token_ids=completion.token_ids,
            log_probs=completion.log_probs,
            policy_version=completion.weights_version,
        )
