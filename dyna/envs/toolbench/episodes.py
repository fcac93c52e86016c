"""One episode at a time over the invented APIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dyna.envs.episode import EpisodeClock
from dyna.envs.toolbench.answers import is_right, set_f1
from dyna.envs.toolbench.builtin import ProblemBook
from dyna.envs.toolbench.calls import (
    ANSWERED,
    FINISH,
    GAVE_UP,
    Answer,
    Call,
    cut,
    execute,
    finish,
    parse_call,
    read_finish,
    unknown,
    write_call,
)
from dyna.envs.toolbench.documents import Api
from dyna.envs.toolbench.problems import Problem
from dyna.envs.toolbench.tables import Tables
from dyna.envs.toolbench.texts import (
    Documents,
    add,
    argument_sets,
    document,
    hidden_state,
    known_values,
    opening,
)
from dyna.types import Action, Outcome, Start, Task

MAX_ADMISSIBLE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How episodes are played and shown, whatever the task."""

    documents: Documents
    grade_sets: bool
    """Reward the F1 of a list instead of all or nothing."""
    max_observation: int
    max_turns: int
    admissible: bool
    expose_hidden_state: bool


class ToolBenchEnv:
    """Played against the tables of a task; nothing outside of memory is touched."""

    def __init__(self, book: ProblemBook, *, rules: Rules) -> None:
        self._book = book
        self._rules = rules
        self._clock = EpisodeClock(max_turns=rules.max_turns)
        self._game: tuple[Problem, Tables] | None = None
        self._known: dict[str, list[Any]] = {}
        self._found: list[Any] = []

    async def reset(self, task: Task) -> Start:
        problem, tables = self._game = self._book.problem(task)
        self._clock.begin()
        self._known, self._found = known_values(problem), []
        documents = [document(api, style=self._rules.documents) for api in problem.apis]
        exposed = self._rules.expose_hidden_state
        return Start(
            observation=opening(problem.query, documents=documents),
            hidden_state=hidden_state(problem, tables=tables) if exposed else None,
            admissible=self._admissible(problem),
        )

    async def step(self, action: Action) -> Outcome:
        self._clock.check()
        if self._game is None:
            raise RuntimeError("this env is closed; call reset before step")
        problem, tables = self._game
        call = parse_call(action.command)
        if call.name == FINISH:
            return self._finish(call, problem=problem)
        api = next((api for api in problem.apis if _is_called(api, name=call.name)), None)
        if api is None:
            answer = unknown(call.name)
        else:
            answer = execute(api, arguments=call.arguments, tables=tables)
            if not answer.error:
                self._learn(api, response=answer.response)
        return self._outcome(answer.text, valid=not answer.error, problem=problem)

    async def close(self) -> None:
        self._game = None

    async def clone(self) -> ToolBenchEnv:
        other = ToolBenchEnv(self._book, rules=self._rules)
        other._game, other._clock = self._game, self._clock.copy()
        other._known = {kind: list(values) for kind, values in self._known.items()}
        other._found = list(self._found)
        return other

    def _finish(self, call: Call, *, problem: Problem) -> Outcome:
        ending = read_finish(call.arguments)
        if ending.error:
            text = Answer(error=ending.error, response="").text
            return self._outcome(text, valid=False, problem=problem)
        if ending.answer is None:
            return self._outcome(GAVE_UP, valid=True, problem=problem, terminated=True)
        success = is_right(ending.answer, truth=problem.answer)
        graded = set_f1(ending.answer, truth=problem.answer) if self._rules.grade_sets else success
        return self._outcome(
            ANSWERED,
            valid=True,
            problem=problem,
            terminated=True,
            success=success,
            reward=float(graded),
        )

    def _outcome(
        self,
        observation: str,
        *,
        valid: bool,
        problem: Problem,
        terminated: bool = False,
        success: bool = False,
        reward: float = 0.0,
    ) -> Outcome:
        stop = self._clock.tick(terminated=terminated)
        return Outcome(
            observation=cut(observation, length=self._rules.max_observation),
            reward=reward,
            terminated=terminated,
            success=success,
            stop=stop,
            valid=valid,
            admissible=() if stop and self._rules.admissible else self._admissible(problem),
        )

    def _learn(self, api: Api, *, response: Any) -> None:
        for output in api.outputs:
            value = output.read(response)
            if value is None:
                continue
            if not isinstance(value, list):
                add(self._known, kind=output.kind, value=value)
            if value not in self._found:
                self._found.append(value)

    def _admissible(self, problem: Problem) -> tuple[str, ...] | None:
        """Endings with any value found, and every listed API with what is known so far."""
        if not self._rules.admissible:
            return None
        calls = [
            write_call(api.name, arguments)
            for api in problem.apis
            for arguments in argument_sets(api, known=self._known)
        ]
        return tuple([*(finish(value) for value in self._found), *calls][:MAX_ADMISSIBLE])


def _is_called(api: Api, *, name: str) -> bool:
    """By its name, or by ToolBench's longer one: `api_for_tool`."""
    return name in (api.name, f"{api.name}_for_{api.tool}")


__all__ = ["MAX_ADMISSIBLE", "Rules", "ToolBenchEnv"]
