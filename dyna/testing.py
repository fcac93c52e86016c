"""The public contract kit: one line of a user's test checks one plug-in against its seam.

    def test_my_world():
        check_world(MyWorld())

Each `check_*` is a plain function that raises `AssertionError` with a message that says what was
seen, what the seam asks for, and why. Beside them stand the smallest real parts that tests are
made of: real episodes, a byte tokenizer and a tiny random language model (see `dyna.samples`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from dyna.protocols import (
    Algorithm,
    Engine,
    Env,
    Policy,
    ReplayBuffer,
    Stateful,
    World,
    WorldModel,
    WorldModelLearner,
)
from dyna.samples import byte_tokenizer, sample_groups, sample_trajectories, tiny_model
from dyna.seeding import generator
from dyna.types import (
    Action,
    Outcome,
    Source,
    Start,
    StopReason,
    Task,
    Trajectory,
    TrajectoryGroup,
)

_T = TypeVar("_T")
GARBAGE = (
    "",
    " ",
    "xyzzy",
    "go " * 3000,
    "\x00\u00e9\u4e2d<|im_end|>",
    "[reward 1; done; success]",
)
"""Commands that no world knows, as a broken policy may utter them."""


def check_world(
    world: World, *, split: str = "train", num_tasks: int = 3, max_turns: int = 20
) -> None:
    """Tasks are stable and named apart, worlds do not share state, and each env keeps its seam."""
    _require(_is(world, World), f"{_name(world)} needs `tasks` and `make`, as dyna.World")
    tasks = list(world.tasks(split=split, num=num_tasks))
    _require(
        len(tasks) == num_tasks,
        f"tasks(num={num_tasks}) must give as many tasks, or raise ValueError; got {len(tasks)}",
    )
    _require(
        tasks == list(world.tasks(split=split, num=num_tasks)),
        "tasks() must give the same tasks at every call: runs and resumed runs rely on it",
    )
    _require(
        len({task.id for task in tasks}) == num_tasks,
        f"task ids must be unique, got {[task.id for task in tasks]}",
    )
    _require(
        tasks[1:] == list(world.tasks(split=split, num=num_tasks - 1, offset=1)),
        "tasks(offset=1) must be the tasks from the second on: rounds take theirs by offset",
    )
    _require(
        all(task.split == split for task in tasks),
        f"every task of split {split!r} must say so in `task.split`",
    )
    try:
        world.tasks(split="no such split", num=1)
    except ValueError:
        pass
    else:
        raise AssertionError("tasks() must raise ValueError for a split that it does not have")
    for task in tasks:
        check_env(world.make, task=task, max_turns=max_turns)
    asyncio.run(_check_apart(world, tasks=tasks))


def check_env(
    make: Callable[[], Env],
    *,
    task: Task,
    commands: Sequence[str] = (),
    max_turns: int = 20,
    deterministic: bool = True,
) -> None:
    """An env answers anything, keeps `terminated` and `stop` in step, and repeats itself.

    Commands are drawn from those the env lists, and from `commands`. `deterministic=False` is for
    worlds that honestly differ from one visit to the next.
    """

    async def play() -> list[Outcome | Start]:
        env = make()
        _require(_is(env, Env), f"{_name(env)} needs async `reset`, `step` and `close`")
        try:
            return await _walk(env, task=task, commands=commands, max_turns=max_turns)
        finally:
            await env.close()
            await env.close()

    first, second = asyncio.run(play()), asyncio.run(play())
    if deterministic:
        _require(
            first == second,
            f"the same task and commands must give the same answers, in {_name(make)}; take all "
            "randomness from `task.seed`",
        )
    asyncio.run(_check_garbage(make, task=task))


async def _walk(
    env: Env, *, task: Task, commands: Sequence[str], max_turns: int
) -> list[Outcome | Start]:
    start = await env.reset(task)
    _check_start(start)
    rng = generator(task.seed, "contract")
    seen: list[Outcome | Start] = [start]
    admissible = start.admissible
    for _ in range(max_turns):
        choices = [*(admissible or ()), *commands] or ["look"]
        outcome = await env.step(Action(command=choices[int(rng.integers(len(choices)))]))
        check_outcome(outcome)
        seen.append(outcome)
        admissible = outcome.admissible
        if outcome.stop is not None:
            break
    _check_start(await env.reset(task))
    return seen


async def _check_garbage(make: Callable[[], Env], *, task: Task) -> None:
    env = make()
    for command in GARBAGE:
        await env.reset(task)
        try:
            outcome = await env.step(Action(command=command))
        except Exception as error:
            raise AssertionError(
                f"step must answer any command, but {command[:30]!r} raised {error!r}; say that "
                "nothing happens, with valid=False"
            ) from error
        check_outcome(outcome)
        _require(not outcome.success, f"the command {command[:30]!r} must not win the task")
    await env.close()


async def _check_apart(world: World, *, tasks: Sequence[Task]) -> None:
    envs = [world.make() for _ in tasks]
    starts = [await env.reset(task) for env, task in zip(envs, tasks, strict=True)]
    alone = world.make()
    again = await alone.reset(tasks[0])
    _require(
        again == starts[0],
        "envs of one world must not share state: a reset of one changed what another says",
    )
    for env in [*envs, alone]:
        await env.close()


def _check_start(start: Start) -> None:
    _require(_is(start, Start), f"reset must return a Start, got {_name(start)}")
    _require(bool(start.observation), "start.observation must say what is seen, got ''")
    _check_commands(start.admissible)


def check_outcome(outcome: Outcome) -> None:
    """The rules that hold for every answer, of a world or of a model."""
    _require(_is(outcome, Outcome), f"an answer must be an Outcome, got {_name(outcome)}")
    _require(_is(outcome.observation, str), "outcome.observation must be a str")
    _require(
        _is(outcome.reward, float | int) and math.isfinite(outcome.reward),
        f"outcome.reward must be a finite float, got {outcome.reward!r}",
    )
    _require(
        outcome.terminated or not outcome.success,
        "an outcome with success=True must have terminated=True: a task is done once",
    )
    _require(
        outcome.terminated == (outcome.stop is StopReason.TERMINATED),
        f"terminated={outcome.terminated} and stop={outcome.stop} must agree: terminated means "
        "that the task ended, any other stop means that the episode was cut",
    )
    _require(
        0.0 <= outcome.confidence <= 1.0,
        f"outcome.confidence must be in [0, 1], got {outcome.confidence}",
    )
    _check_commands(outcome.admissible)


def _check_commands(commands: tuple[str, ...] | None) -> None:
    _require(
        commands is None or _is(commands, tuple),
        f"admissible must be a tuple of commands or None, got {_name(commands)}",
    )


def check_policy(policy: Policy, *, trajectories: Sequence[Trajectory] = ()) -> None:
    """A policy acts in every context of real episodes, many at a time, and repeats itself.

    `trajectories` are real episodes of a world it can act in; `sample_trajectories()` otherwise.
    """
    _require(_is(policy, Policy), f"{_name(policy)} needs async `act` and `version`")
    _require(_is(policy.version, int), f"policy.version must be an int: {policy.version!r}")
    contexts = [
        replace(t.context(length), seed=17 + length, greedy=greedy)
        for t in trajectories or sample_trajectories()
        for length in range(len(t.turns))
        for greedy in (False, True)
    ]

    async def act_twice() -> list[list[Action]]:
        return [list(await asyncio.gather(*map(policy.act, contexts))) for _ in range(2)]

    first, second = asyncio.run(act_twice())
    for context, action in zip(contexts, first, strict=True):
        _require(_is(action, Action), f"act must return an Action, got {_name(action)}")
        _require(_is(action.command, str), "action.command must be a str")
        _require(
            len(action.token_ids) == len(action.log_probs),
            f"an action keeps one log-prob per sampled token, got {len(action.token_ids)} tokens "
            f"and {len(action.log_probs)} log-probs in context {context.episode_id!r}",
        )
        _require(
            all(math.isfinite(p) and p <= 1e-4 for p in action.log_probs),
            "log-probs are finite natural logs of probabilities, so at most 0",
        )
    _require(
        [a.command for a in first] == [a.command for a in second],
        "the same context must give the same action: take all randomness from `context.seed`",
    )


def check_world_model(model: WorldModel, *, trajectories: Sequence[Trajectory] = ()) -> None:
    """A world model answers any action in any context without raising, and repeats itself."""
    _require(_is(model, WorldModel), f"{_name(model)} needs async `predict` and `version`")
    _require(_is(model.version, int), f"model.version must be an int: {model.version!r}")
    episodes = trajectories or sample_trajectories()
    asked = [(t.context(i), turn.action) for t in episodes for i, turn in enumerate(t.turns)]
    asked += [(episodes[0].context(0), Action(command=command)) for command in GARBAGE]

    async def predict_twice() -> list[list[Outcome]]:
        calls = [[model.predict(context, action) for context, action in asked] for _ in range(2)]
        return [list(await asyncio.gather(*of_pass)) for of_pass in calls]

    try:
        first, second = asyncio.run(predict_twice())
    except Exception as error:
        raise AssertionError(
            f"predict must not raise on garbage, but raised {error!r}; stop with UNPARSEABLE"
        ) from error
    for outcome in first:
        check_outcome(outcome)
        _require(outcome.admissible is None, "a world model must not invent `admissible`")
    # The last bits of a probability may depend on what else was predicted beside it.
    _require(
        [replace(o, confidence=1.0) for o in first] == [replace(o, confidence=1.0) for o in second]
        and all(
            abs(a.confidence - b.confidence) < 1e-3 for a, b in zip(first, second, strict=True)
        ),
        "the same context and action must give the same prediction",
    )


def check_world_model_learner(learner: WorldModelLearner, *, replay: ReplayBuffer) -> None:
    """A model's learner reports numbers, and refuses episodes that are not real."""
    _require(_is(learner, WorldModelLearner), f"{_name(learner)} needs `update`")
    real = sample_trajectories()
    dream = replace(real[0], source=Source.IMAGINED, branch_point=0)
    _must_refuse(
        lambda: learner.update([dream], replay),
        "update must raise ValueError for imagined episodes: a model that learns from its own "
        "dreams confirms its errors",
    )
    metrics = learner.update(real, replay)
    _require(
        all(math.isfinite(value) for value in metrics.values()),
        f"metrics must be finite numbers, got {metrics}",
    )


def check_replay_buffer(make: Callable[[], ReplayBuffer]) -> None:
    """What is sampled is what was stored, at least as much as asked for, and never a dream."""
    buffer = make()
    _require(_is(buffer, ReplayBuffer), f"{_name(buffer)} needs `add`, `sample`, `__len__`")
    _require(len(buffer) == 0, f"a new buffer must be empty, its length is {len(buffer)}")
    stored = {t.id: t for t in sample_trajectories()}
    for trajectory in stored.values():
        buffer.add(trajectory)
    num_turns = sum(len(t.turns) for t in stored.values())
    _require(0 < len(buffer) <= num_turns, f"len() counts turns: {len(buffer)} of {num_turns}")
    for wanted in (1, num_turns, 5 * num_turns):
        sampled = buffer.sample(wanted)
        got = sum(len(t.turns) for t in sampled)
        _require(got >= wanted, f"sample({wanted}) must give at least as many turns, got {got}")
        _require(
            all(stored.get(t.id) == t for t in sampled),
            "a sampled trajectory must equal the stored one in every field",
        )
    dream = replace(next(iter(stored.values())), id="dream", source=Source.IMAGINED)
    _must_refuse(
        lambda: buffer.add(dream),
        "add must raise ValueError for imagined episodes: it feeds models",
    )


def check_stateful(part: Stateful, *, fresh: Stateful, observe: Callable[[Any], _T]) -> None:
    """A part saved and restored into `fresh` looks the same to `observe`."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        part.save(folder)
        expected = observe(part)
        fresh.load(folder)
        _require(
            observe(fresh) == expected, f"{_name(part)} must come back from disk as it was saved"
        )


def check_algorithm(algorithm: Algorithm, *, groups: Sequence[TrajectoryGroup] = ()) -> None:
    """Credit is finite, one number per turn, for trajectories that were given, and repeatable."""
    groups = groups or sample_groups()
    credits = algorithm(groups)
    given = [t for group in groups for t in group.trajectories]
    for credit in credits:
        trajectory = credit.trajectory
        _require(trajectory in given, f"credit for {trajectory.id!r}, which was not given")
        for name, values in (("rl", credit.rl), ("ce", credit.ce)):
            _require(
                len(values) in (0, len(trajectory.turns)),
                f"credit.{name} needs one number for each of {len(trajectory.turns)} turns, or "
                f"none at all; got {len(values)}",
            )
            _require(all(map(math.isfinite, values)), f"credit.{name} must be finite: {values}")
    _require(algorithm(groups) == credits, "an algorithm is a pure function of its groups")
    _require(algorithm([]) == [], "an algorithm of no groups must give no credit")


def check_engine(
    engine: Engine, *, prompt: Sequence[int], stop_ids: Sequence[int] = (), max_new_tokens: int = 8
) -> None:
    """See `dyna.engines.contract.check_engine`."""
    from dyna.engines.contract import check_engine as check

    check(engine, prompt=prompt, stop_ids=stop_ids, max_new_tokens=max_new_tokens)


def _require(condition: bool, message: str) -> None:
    # Not `assert`, which `python -O` removes.
    if not condition:
        raise AssertionError(message)


def _must_refuse(call: Callable[[], object], message: str) -> None:
    try:
        call()
    except ValueError:
        return
    raise AssertionError(message)


def _is(value: object, kind: Any) -> bool:
    """`isinstance` for values that a user's code may have got wrong in spite of their types."""
    return isinstance(value, kind)


def _name(value: object) -> str:
    return type(value).__name__


__all__ = [
    "GARBAGE",
    "byte_tokenizer",
    "check_algorithm",
    "check_engine",
    "check_env",
    "check_outcome",
    "check_policy",
    "check_replay_buffer",
    "check_stateful",
    "check_world",
    "check_world_model",
    "check_world_model_learner",
    "sample_groups",
    "sample_trajectories",
    "tiny_model",
]
