"""A policy that talks messages: any model behind an OpenAI-compatible server, by text alone.

It needs no token ids and no log-probs, so it cannot be trained; it acts, and as `real.expert` it
shows others how, whose demonstrations are text to be imitated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.parsers import Parser, parse_plain, parse_react, parse_toolbench
from dyna.config import ActionMode
from dyna.configuring import ConfigError
from dyna.engines.openai import ChatServer, Message, ServerSettings
from dyna.types import Action, Context

_ROLE = (
    "You act in a world that answers in text. The first message says what you see and what your "
    "task is; every later one is what your last command led to. Do the task in as few commands as "
    "you can."
)
_FORMATS: dict[Parser, str] = {
    parse_plain: "Answer with one command, alone on one line, and nothing else.",
    parse_react: (
        "Answer with two lines. The first begins with `Thought:` and says briefly why. The second "
        "begins with `Action:` and is followed by one command, and nothing else."
    ),
    parse_toolbench: (
        "Answer with three lines: `Thought:` and briefly why; `Action:` and the name of one tool; "
        "`Action Input:` and its arguments as one JSON object."
    ),
}


class ChatPolicy:
    """Acts by what a served model says.

    Example: `ChatPolicy({"model_name": "gpt-4o-mini"}, parser=parse_react, max_new_tokens=200)`

    With `actions=ADMISSIBLE` the commands that the world lists stand below what it said. A server
    of text cannot be held to them: what is not on the list reaches the world as it is.
    """

    def __init__(
        self,
        server: Mapping[str, Any] | ServerSettings,
        *,
        actions: ActionMode = ActionMode.FREE,
        parser: Parser = parse_plain,
        temperature: float = 1.0,
        max_new_tokens: int = 256,
        system_prompt: str = "",
        check: bool = True,
    ) -> None:
        """An empty `system_prompt` is replaced by one that fits the parser.

        Raises `ConfigError` where the server is not there or does not serve the model, and for a
        parser that is not ours without a `system_prompt` to go with it.
        """
        if not system_prompt and parser not in _FORMATS:
            raise ConfigError(
                "policy `openai` knows no instructions for this parser; set system_prompt in its "
                "params, and say in it how to answer"
            )
        self.version = 0
        self._actions = actions
        self._parser = parser
        self._temperature = temperature
        self._max_new_tokens = max_new_tokens
        self._system_prompt = system_prompt or f"{_ROLE}\n{_FORMATS[parser]}"
        self._server = ChatServer(server, check=check)

    async def act(self, context: Context) -> Action:
        """Raises `ContextOverflow` when the transcript is too long for the served model, and
        `ServerError` when the server gives no answer."""
        reply = await self._server.chat(
            self._messages(context),
            max_tokens=self._max_new_tokens,
            temperature=0.0 if context.greedy else self._temperature,
            seed=context.seed,
        )
        command = self._spelled(self._parser(reply.text), context=context)
        return Action(command=command, text="" if reply.text == command else reply.text)

    def _messages(self, context: Context) -> list[Message]:
        messages: list[Message] = [("system", self._system_prompt)]
        messages.append(("user", context.start.observation))
        for turn in context.turns[: context.length]:
            messages.append(("assistant", turn.action.said))
            messages.append(("user", turn.outcome.observation))
        if self._listed(context):
            role, seen = messages.pop()
            commands = "\n".join(context.admissible or ())
            messages.append((role, f"{seen}\n\nPossible commands:\n{commands}"))
        return messages

    def _spelled(self, command: str, *, context: Context) -> str:
        """The listed command that differs in case and blanks alone, if there is one."""
        if not self._listed(context):
            return command
        plain = " ".join(command.lower().split())
        listed = {" ".join(c.lower().split()): c for c in context.admissible or ()}
        return listed.get(plain, command)

    def _listed(self, context: Context) -> bool:
        return self._actions is ActionMode.ADMISSIBLE and bool(context.admissible)
