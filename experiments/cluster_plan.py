"""A plan of a run on many GPUs: what each one does, and what holds a round back.

What a GPU does follows from the model's shape and the maker's figures (`experiments.arithmetic`),
times the share of them that is assumed to be reached; what the loop itself costs per imagined step
was measured (`make bench-cluster`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.arithmetic import H100, QWEN25_7B, Gpu, ModelShape, decode_step_s, read_s

GPUS_PER_NODE = 8
LORA_RANK = 32
_TRAINING_BYTES = 16
"""Per trained parameter: weight, gradient and two moments in float32, shared out by FSDP2."""
_ADAPTER_BYTES = 4
"""Of each number: adapters are float32 whatever the base is."""
_NUM_ROLES = 2
"""Policy and world model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Shares of the maker's figures that are assumed; the GPU check list measures the first three.

    They are what good kernels reach on large models, not the best ever shown.
    """

    bandwidth: float = 0.6
    reading: float = 0.5
    """Of the matrix rate, while prompts are read."""
    training: float = 0.4
    """Of the matrix rate: model FLOPs utilization."""
    network: float = 0.8
    """Of a GPU's network card, in a broadcast from GPU to GPU."""
    tcp: float = 2.5e9
    """Bytes per second from one node's object store to another's."""
    memory: float = 0.9
    """Of a GPU, for weights, cache and `reserve_bytes`."""
    reserve_bytes: float = 4e9
    """For activations and what the runtime keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """An episode as in ALFWorld with a short thought before each command; tokens, per view."""

    opening: int = 400
    """System prompt, first observation, task."""
    said: int = 40
    """By the policy, per step."""
    heard: int = 40
    """From the world or its model, per step."""
    framing: int = 10
    """The chat template's, per step."""
    steps: int = 30
    group: int = 8
    """Episodes from one start, which share the opening."""

    @property
    def per_step(self) -> int:
        return self.said + self.heard + self.framing

    @property
    def length(self) -> int:
        """At the end."""
        return self.opening + self.steps * self.per_step

    @property
    def mean_length(self) -> int:
        return self.opening + self.steps * self.per_step // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopCosts:
    """What was measured of the loop around the engines, per imagined step."""

    driver_cpu_s: float
    """Calls and answers, in the driver's one Python thread; per step."""
    learning_cpu_s_per_token: float
    """Books, groups and samples, in the same thread; per token of a sample."""
    actor_cpu_s: float
    """In rollout actors; per step."""
    bytes_per_token: float
    """Between driver and rollout actors, per token of a sample."""
    sample_bytes_per_token: float
    """From the driver to learners."""

    @classmethod
    def of(cls, scale: dict[str, Any]) -> LoopCosts:
        """From what `experiments.bench.scale` found."""
        tokens = scale["sample_tokens_per_step"]
        return cls(
            driver_cpu_s=scale["driver_cpu_s_per_1000_more_steps"] / 1000,
            learning_cpu_s_per_token=scale["learning_cpu_s_per_1000_steps"] / 1000 / tokens,
            actor_cpu_s=scale["actor_cpu_s_per_1000_steps"] / 1000,
            bytes_per_token=scale["bytes_per_step"] / tokens,
            sample_bytes_per_token=scale["sample_bytes_per_step"] / tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RealWorld:
    """What one round spends in the real world, and how fast that is."""

    step_s: float
    reset_s: float
    episodes: int = 256
    evaluated: int = 140
    """ALFWorld's own number of games in a split."""
    at_once: int = 256
    """Environments that run side by side, each with a CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRates:
    """One GPU that holds the base and both adapters, full of conversations."""

    conversations: int
    batch_step_s: float
    """Of one decoding step for all of them."""
    tokens_per_s: float
    """Decoded."""
    steps_per_s: float
    """Imagined."""


def engine_rates(
    shape: ModelShape,
    *,
    gpu: Gpu,
    talk: Conversation,
    reached: Reached,
    is_shared: bool = True,
) -> EngineRates:
    """Imagination on one GPU.

    With `is_shared` it holds one base and two adapters, and both views of a conversation, one of
    which decodes at any moment. Else it holds one whole model and its view alone: the rates are
    then per GPU of a pair, and half of a GPU's conversations wait for the other.
    """
    budget = reached.memory * gpu.memory - shape.weight_bytes - reached.reserve_bytes
    views = _NUM_ROLES if is_shared else 1
    conversations = int(budget // (views * talk.length * shape.kv_bytes_per_token))
    if conversations < 1:
        raise ValueError(f"{gpu.name} cannot hold the model and one conversation")
    batch = conversations if is_shared else max(conversations // 2, 1)
    flops = reached.reading * gpu.bf16_flops
    step_s = decode_step_s(
        shape,
        batch=batch,
        context=talk.mean_length,
        bandwidth=reached.bandwidth * gpu.bandwidth,
        flops=flops,
    )
    decoded = talk.said + talk.heard
    # Each view reads what the other said; a group reads its opening once.
    news = read_s(shape, num_tokens=talk.per_step, context=talk.mean_length, flops=flops)
    opening = read_s(shape, num_tokens=talk.opening, context=0, flops=flops)
    per_step = decoded * step_s / batch + news
    per_step += _NUM_ROLES * opening / (talk.group * talk.steps)
    return EngineRates(
        conversations=conversations if is_shared else conversations // 2,
        batch_step_s=step_s,
        tokens_per_s=decoded / per_step,
        steps_per_s=1.0 / per_step,
    )


def learner_steps_per_s(
    shape: ModelShape, *, gpu: Gpu, talk: Conversation, reached: Reached, passes: int
) -> float:
    """Imagined steps that one GPU trains on, each once: whole episodes, loss on what was said.

    `passes` is 3 where every weight is trained, 2 with adapters (no gradients of weights).
    """
    flops = shape.training_flops(talk.length, num_logits=talk.said * talk.steps, passes=passes)
    return talk.steps * reached.training * gpu.bf16_flops / flops


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a plan is made for."""

    shape: ModelShape = QWEN25_7B
    gpu: Gpu = H100
    talk: Conversation = Conversation()
    reached: Reached = Reached()
    lora_rank: int = LORA_RANK
    """0 trains every weight."""
    updates: int = 4
    """Policy updates, and so weight pushes, in each round; the world model adds one."""
    episodes_per_gpu: int = 512
    """Imagined in each round."""
    fixed_episodes: int = 0
    """The same number at every size instead, if not 0."""
    replayed: float = 1.0
    """Replayed tokens per fresh one in a world-model update."""
    epochs: float = 2.0
    """Passes of it."""

    @property
    def push_bytes(self) -> int:
        """Of one model's new weights."""
        if not self.lora_rank:
            return self.shape.weight_bytes
        return _ADAPTER_BYTES * self.shape.lora_parameters(self.lora_rank)

    @property
    def least_learners(self) -> int:
        """GPUs that hold both models' training state in three quarters of their memory."""
        if self.lora_rank:
            adapter = _TRAINING_BYTES * self.shape.lora_parameters(self.lora_rank)
            state = self.shape.weight_bytes + adapter
        else:
            state = _TRAINING_BYTES * self.shape.parameters
        return math.ceil(_NUM_ROLES * state / (0.75 * self.gpu.memory))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One size of cluster: who does what, and how long a round takes."""

    gpus: int
    engines: int
    learners: int
    episodes: int
    """Imagined per round."""
    steps_per_s: float
    """Imagined and learned from: the smaller of what engines and learners do."""
    training_tokens_per_s: float
    rollout_cpus: float
    driver_cpus: float
    """CPUs' worth of work for the driver's one thread, while imagination runs at that rate."""
    driver_bytes_per_s: float
    parts: Mapping[str, float]
    """Seconds of a round: `imagine` and `model` are the GPUs' own work, all others are waits."""

    @property
    def round_s(self) -> float:
        return sum(self.parts.values())

    @property
    def busy(self) -> float:
        """Share of a round in which GPUs do what they are there for."""
        return (self.parts["imagine"] + self.parts["model"]) / self.round_s

    @property
    def bottleneck(self) -> tuple[str, float]:
        """The longest wait, and its share of a round."""
        waits = {name: s for name, s in self.parts.items() if name not in ("imagine", "model")}
        name = max(waits, key=lambda key: waits[key])
        return name, waits[name] / self.round_s


def broadcast_s(setup: Setup) -> float:
    """A pipelined NCCL broadcast: every link carries the weights once, however many receive."""
    return setup.push_bytes / (setup.reached.network * setup.gpu.network)


def object_store_s(setup: Setup, *, gpus: int) -> float:
    """Learner to driver, then one copy to each node: who has it passes it on, so copies double."""
    hops = 1 + math.ceil(math.log2(math.ceil(gpus / GPUS_PER_NODE) + 1))
    return hops * setup.push_bytes / setup.reached.tcp


def balance(setup: Setup, *, gpus: int) -> tuple[int, int, float]:
    """Engines, learners, and imagined steps per second, such that neither waits for the other."""
    is_lora = bool(setup.lora_rank)
    made = engine_rates(
        setup.shape, gpu=setup.gpu, talk=setup.talk, reached=setup.reached, is_shared=is_lora
    ).steps_per_s
    learned = learner_steps_per_s(
        setup.shape,
        gpu=setup.gpu,
        talk=setup.talk,
        reached=setup.reached,
        passes=2 if is_lora else 3,
    )
    learners = max(round(gpus * made / (made + learned)), setup.least_learners)
    if learners >= gpus:
        raise ValueError(
            f"{gpus} {setup.gpu.name} do not hold the training state and an engine; use adapters"
        )
    engines = gpus - learners
    return engines, learners, min(engines * made, learners * learned)


def make_plan(setup: Setup, *, gpus: int, costs: LoopCosts, world: RealWorld) -> Plan:
    """The loop in lock step but for imagination and policy updates, which go side by side."""
    talk, reached = setup.talk, setup.reached
    engines, learners, steps_per_s = balance(setup, gpus=gpus)
    episodes = setup.fixed_episodes or gpus * setup.episodes_per_gpu
    tokens_per_step = talk.length / talk.steps
    learning = costs.learning_cpu_s_per_token * tokens_per_step
    driver_cpus = steps_per_s * (costs.driver_cpu_s + learning)
    moved = (costs.bytes_per_token + costs.sample_bytes_per_token) * tokens_per_step
    driver_bytes_per_s = steps_per_s * moved
    imagine_s = episodes * talk.steps / steps_per_s
    # A conversation that has an engine to itself waits for nothing but the weights to be read.
    alone_s = setup.shape.step_bytes / (reached.bandwidth * setup.gpu.bandwidth)
    episode_s = world.reset_s + talk.steps * (world.step_s + talk.said * alone_s)
    fresh = world.episodes * talk.steps * (1 + setup.replayed) * setup.epochs
    learned = learner_steps_per_s(
        setup.shape,
        gpu=setup.gpu,
        talk=talk,
        reached=reached,
        passes=2 if setup.lora_rank else 3,
    )
    return Plan(
        gpus=gpus,
        engines=engines,
        learners=learners,
        episodes=episodes,
        steps_per_s=steps_per_s,
        training_tokens_per_s=steps_per_s * tokens_per_step,
        rollout_cpus=steps_per_s * costs.actor_cpu_s,
        driver_cpus=driver_cpus,
        driver_bytes_per_s=driver_bytes_per_s,
        parts={
            "imagine": imagine_s,
            "model": fresh / (learners * learned),
            "real play": math.ceil(world.episodes / world.at_once) * episode_s,
            "evaluation": math.ceil(world.evaluated / world.at_once) * episode_s,
            "weight pushes": (setup.updates + 1) * object_store_s(setup, gpus=gpus),
            "driver": imagine_s * (max(1.0, driver_cpus, driver_bytes_per_s / reached.tcp) - 1.0),
        },
    )
