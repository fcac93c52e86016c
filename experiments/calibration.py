"""Short measurements on this machine: how long episodes are, and how fast the models run.

They take a few seconds together and use the parts that a run would use: the configured world,
tokenizer, model, engine and trainer. What is played and trained here is thrown away.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from dyna.config import ModelConfig, RunConfig
from dyna.envs.isolation import isolate
from dyna.plugins import build
from dyna.protocols import Engine, GenerationRequest, HasExpert, HasExplorer, Policy, World
from dyna.rendering import Renderer
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.seeding import derive_seed, generator
from dyna.training.models import load_model, load_tokenizer
from dyna.training.trainer import TokenTrainer
from dyna.types import Context, Source, TrainingSample, Trajectory

NUM_EPISODES = 8
MIN_SECONDS = 0.4
"""A measurement is repeated until it has lasted this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Means over a few episodes; tokens as the configured tokenizer counts them."""

    turns: float
    """Turns of an episode."""
    opening: float
    """Tokens before the agent's first action."""
    hidden_opening: float
    """Tokens before the world model's first answer, the privileged state with them."""
    action: float
    answer: float
    episode_s: float
    """Seconds of the world itself for one episode."""
    origin: str
    """What was measured."""

    @property
    def agent_tokens(self) -> float:
        """Of one whole episode, as the agent reads it."""
        return self.opening + self.turns * (self.action + self.answer)

    @property
    def model_tokens(self) -> float:
        """Of one whole episode, as the world model reads it."""
        return self.hidden_opening + self.turns * (self.action + self.answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Tokens per second of one model on this machine, and the memory it took."""

    read: float
    write: float
    train: float
    num_parameters: int
    weight_bytes: int


def measure_lengths(config: RunConfig) -> Lengths:
    """Play a few episodes of the exploration policy. Raises what the parts raise."""
    world: World = build("environments", config.world)
    scripts: dict[str, Callable[[Context], str]] = {}
    if isinstance(world, HasExpert):
        scripts["expert"] = world.expert
    if isinstance(world, HasExplorer):
        scripts["explorer"] = world.explorer
    policy: Policy = build("policies", config.real.exploration, **scripts)
    tasks = world.tasks(split="train", num=NUM_EPISODES, offset=config.world.first_task)
    specs = [
        EpisodeSpec(task=task, episode_id=f"plan{i}", seed=derive_seed(config.seed, "plan", i))
        for i, task in enumerate(tasks)
    ]
    envs = isolate(world, config=config.world)
    limits = Limits(max_turns=config.world.max_turns, step_timeout_s=config.world.step_timeout_s)
    began = time.perf_counter()
    played = asyncio.run(
        rollout(
            specs,
            policy=policy,
            make_env=lambda _: envs.make(),
            limits=limits,
            source=Source.REAL,
            max_concurrent=envs.concurrency(NUM_EPISODES),
        )
    )
    envs.close()
    elapsed = time.perf_counter() - began
    whole = [trajectory for trajectory in played if not trajectory.stop.is_failure]
    if not whole:
        raise RuntimeError(f"every episode of {config.world.name} failed: {played[0].error}")
    return _lengths(
        whole,
        renderer=_renderer(config.world_model.model),
        use_hidden_state=config.world_model.use_hidden_state,
        episode_s=elapsed / len(played),
        origin=f"{len(whole)} episodes of {config.real.exploration.name}",
    )


def _lengths(
    played: list[Trajectory],
    *,
    renderer: Renderer,
    use_hidden_state: bool,
    episode_s: float,
    origin: str,
) -> Lengths:
    turns = [turn for trajectory in played for turn in trajectory.turns]
    openings = [len(renderer.action_prompt(trajectory.context(0))) for trajectory in played]
    hidden = [
        len(
            renderer.answer_prompt(
                trajectory.context(0),
                trajectory.turns[0].action,
                use_hidden_state=use_hidden_state,
            )
        )
        for trajectory in played
        if trajectory.turns
    ]
    actions = [len(renderer.encode_action(turn.action.said)) for turn in turns]
    answers = [len(renderer.encode_answer(turn.outcome)) for turn in turns]
    return Lengths(
        turns=len(turns) / len(played),
        opening=_mean(openings),
        hidden_opening=_mean(hidden),
        action=_mean(actions),
        answer=_mean(answers),
        episode_s=episode_s,
        origin=origin,
    )


def measure_speeds(model_config: ModelConfig, *, config: RunConfig, lengths: Lengths) -> Speeds:
    """Read, write and train with one model on made-up tokens of the measured lengths."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # its bars would cut through the plan
    torch.set_num_threads(config.runtime.threads)
    model = load_model(model_config)
    size = int(model.config.vocab_size)
    engine: Engine = build(
        "engines",
        config.engine,
        model=model,
        max_batch=config.engine.max_batch,
        max_context=model_config.max_context,
    )
    prompt = max(1, min(int(lengths.model_tokens / 2), model_config.max_context // 2))
    room = model_config.max_context - prompt
    written = max(1, min(round(lengths.answer), room - 1))
    batch = config.engine.max_batch
    short = _generate_s(engine, size=size, prompt=prompt, written=1, batch=batch)
    both = _generate_s(engine, size=size, prompt=prompt, written=1 + written, batch=batch)
    trained = load_model(model_config)  # as in a run, the engine has a copy of its own
    trainer = TokenTrainer(trained, optimizer=config.world_model_learner.optimizer)
    return Speeds(
        read=batch * prompt / short,
        write=batch * written / max(both - short, 1e-6),
        train=_train_speed(trainer, size=size, tokens=min(2 * prompt, model_config.max_context)),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        weight_bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
    )


def _generate_s(engine: Engine, *, size: int, prompt: int, written: int, batch: int) -> float:
    """Seconds to read `batch` new prompts and write `written` tokens to each."""

    async def once(round: int) -> None:
        requests = [
            GenerationRequest(
                conversation_id=f"{written}/{round}/{row}",
                # Nothing in common, for an engine reads a shared beginning once.
                prompt_ids=tuple(
                    generator(row, written, round).integers(size, size=prompt).tolist()
                ),
                max_new_tokens=written,
                stop_ids=(),
                seed=row,
            )
            for row in range(batch)
        ]
        await asyncio.gather(*(engine.generate(request) for request in requests))

    asyncio.run(once(0))
    began, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - began < MIN_SECONDS:
        rounds += 1
        asyncio.run(once(rounds))
    return (time.perf_counter() - began) / rounds


def _train_speed(trainer: TokenTrainer, *, size: int, tokens: int) -> float:
    """Trained tokens per second, a third of them with a loss, as in an episode."""
    samples = [
        TrainingSample(
            token_ids=tuple((row + i * 7) % size for i in range(tokens)),
            ce=tuple(1.0 if i and i % 3 == 0 else 0.0 for i in range(tokens)),
        )
        for row in range(16)
    ]
    trainer.train(samples[:4], epochs=1, seed=0)
    began, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - began < MIN_SECONDS:
        rounds += 1
        trainer.train(samples, epochs=1, seed=rounds)
    return rounds * len(samples) * tokens / (time.perf_counter() - began)


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _renderer(config: ModelConfig) -> Renderer:
    return Renderer(load_tokenizer(config), max_context=config.max_context)


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0
