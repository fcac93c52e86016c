"""What a run with large models needs of each GPU, before it is launched; no weight is loaded.

Bytes follow from the model's `config.json` and the run's settings alone; times from what a GPU's
maker promises and the shares of it in `Reached`. Nothing here was measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dyna.config import RunConfig, Sharding
from dyna.configuring import ConfigError
from experiments.arithmetic import GPUS, H100, Gpu, ModelShape, decode_step_s
from experiments.memory import engine_bytes, learner_bytes, shape_of
from experiments.phases import phases

# NVIDIA L40S datasheet (2023): 48 GB GDDR6, 864 GB/s, 362 TFLOP/s dense bf16, PCIe 4.0 x16. The
# others are in `experiments.arithmetic`, from the A100, H100 SXM and H200 SXM datasheets.
L40S = Gpu(name="L40S", memory=48e9, bandwidth=0.864e12, bf16_flops=362e12, link=32e9, network=25e9)
KNOWN_GPUS = (L40S, *GPUS)

_OVERHEAD = int(1.5 * 2**30)
"""Of one process on a GPU: CUDA's context, cuBLAS and NCCL buffers, what the allocator loses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Shares of the makers' figures that a good program reaches; an assumption, not a measure."""

    matrix: float = 0.4
    bandwidth: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One process's share of one device."""

    name: str
    num: int
    """How many there are."""
    num_gpus: float
    """GPUs of each; below 1 they share one, 0 is a CPU."""
    bytes_of: dict[str, int]
    """What takes how much of each of its GPUs."""
    remedies: tuple[str, ...] = ()
    """Settings that lower it."""

    @property
    def total(self) -> int:
        return sum(self.bytes_of.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    places: tuple[Place, ...]
    colocated: tuple[tuple[str, ...], ...] = ()
    """Names of places that share a GPU."""
    train_flops: float = 0.0
    """Of one round."""
    read_flops: float = 0.0
    write_s: float = 0.0
    """Of one round on one GPU, by memory bandwidth."""
    num_training: int = 1
    """GPUs that train, and those that generate."""
    num_generating: int = 1
    gpu: Gpu = H100
    reached: Reached = Reached()

    @property
    def train_s(self) -> float:
        """Seconds in which the learners do one round's training."""
        return self.train_flops / (self.gpu.bf16_flops * self.reached.matrix * self.num_training)

    @property
    def generate_s(self) -> float:
        """Seconds in which the engines read and write one round's episodes."""
        read = self.read_flops / (self.gpu.bf16_flops * self.reached.matrix)
        return (read + self.write_s) / self.num_generating

    def check(self) -> None:
        """Raises `TooLittleMemoryError` when one of these GPUs cannot hold what is placed on it."""
        groups = [*self.colocated, *((p.name,) for p in self.places if p.num_gpus)]
        for names in groups:
            places = [place for place in self.places if place.name in names]
            needed = sum(place.total for place in places)
            if needed > self.gpu.memory:
                raise TooLittleMemoryError(_too_little(places, gpu=self.gpu))


class TooLittleMemoryError(ConfigError):
    """A model and what goes with it do not fit the GPU that is there."""


def estimate(
    config: RunConfig,
    *,
    gpu: Gpu = H100,
    reached: Reached | None = None,
    policy_tokens: float = 0.0,
    model_tokens: float = 0.0,
    written_share: float = 0.3,
) -> Estimate:
    """Memory of every place and the time of a round on GPUs of the kind `gpu`.

    `policy_tokens` and `model_tokens` are those of an episode as each reads it; 0 takes every
    episode to fill the context. `written_share` of them are written by the model, the others read.
    Raises `DamagedFileError` for a model without a `config.json` on this machine, `ValueError` for
    an architecture whose shape is not known.
    """
    shape, model = shape_of(config.policy.model), shape_of(config.world_model.model)
    reached = reached or Reached()
    runtime, engine = config.runtime, config.engine
    places = (*_learners(config, shapes=(shape, model)), *_engines(config, shapes=(shape, model)))
    colocated: tuple[tuple[str, ...], ...] = ()
    if runtime.num_learners == 0 and engine.num_actors == 0 and runtime.num_env_runners == 0:
        colocated = (tuple(place.name for place in places if place.num_gpus),)
    elif 0 < engine.num_gpus + runtime.gpus_per_learner <= 1 and engine.num_actors:
        engines = [place.name for place in places if place.name.startswith("engine")]
        colocated = tuple(("learner", name) for name in engines[:1] if runtime.gpus_per_learner)
    lengths = (policy_tokens, model_tokens)
    flops = _round(config, shapes=(shape, model), lengths=lengths, share=written_share)
    bandwidth = gpu.bandwidth * reached.bandwidth
    return Estimate(
        places=places,
        colocated=colocated,
        train_flops=flops.train,
        read_flops=flops.read,
        write_s=sum(
            written
            / engine.max_batch
            * decode_step_s(
                each,
                batch=engine.max_batch,
                context=length / 2,
                bandwidth=bandwidth,
                flops=gpu.bf16_flops * reached.matrix,
            )
            for each, written, length in zip(
                (shape, model), flops.written, flops.lengths, strict=True
            )
        ),
        num_training=max(1, runtime.num_learners),
        num_generating=max(1, sum(p.num for p in places if p.name.startswith("engine"))),
        gpu=gpu,
        reached=reached,
    )


_MEMORY_OF_LEARNERS = (
    "model.lora.rank above 0",
    "runtime.sharding=fsdp with more learners",
    "optimizer.gradient_checkpointing=true",
    "a lower optimizer.tokens_per_pass",
    "model.dtype=bfloat16",
)
_MEMORY_OF_ENGINES = (
    "a higher engine.tensor_parallel",
    "a lower engine.max_batch or model.max_context",
    "engine.shared=true with adapters",
    "model.dtype=bfloat16",
)


def _learners(config: RunConfig, *, shapes: Sequence[ModelShape]) -> list[Place]:
    runtime = config.runtime
    parts = runtime.num_learners if runtime.sharding is Sharding.FSDP else 1
    roles = (
        ("policy", config.policy.model, config.policy_learner.optimizer),
        ("world model", config.world_model.model, config.world_model_learner.optimizer),
    )
    held: dict[str, int] = {"overhead": _OVERHEAD}
    passing: list[int] = []
    for shape, (role, model, optimizer) in zip(shapes, roles, strict=True):
        found = learner_bytes(
            shape,
            model=model,
            optimizer=optimizer,
            num_shards=max(1, parts),
            has_reference=role == "policy" and config.policy_learner.ref_kl > 0,
        )
        # One model is trained at a time.
        passing.append(found.pop("activations") + found.pop("logits"))
        held |= {f"{role}: {name}": value for name, value in found.items()}
    held["activations and logits"] = max(passing)
    gpus = runtime.gpus_per_learner or float(_is_local(config))
    return [
        Place(
            name="learner",
            num=max(1, runtime.num_learners),
            num_gpus=gpus,
            bytes_of=held,
            remedies=_MEMORY_OF_LEARNERS,
        )
    ]


def _engines(config: RunConfig, *, shapes: Sequence[ModelShape]) -> list[Place]:
    engine, runtime = config.engine, config.runtime
    models = (config.policy.model, config.world_model.model)
    if engine.shared:
        held = engine_bytes(shapes[0], model=models[0], engine=engine, num_adapters=2)
        kinds = {"engine of both": held}
    else:
        kinds = {
            f"engine of the {role}": engine_bytes(shape, model=model, engine=engine)
            for role, shape, model in zip(("policy", "world model"), shapes, models, strict=True)
        }
    if engine.num_actors:
        gpus, num = engine.num_gpus, engine.num_actors
    else:  # Every rollout actor has engines of its own, in one process.
        both: dict[str, int] = {}
        for kind, held in kinds.items():
            both |= {f"{kind}: {name}": value for name, value in held.items()}
        kinds = {"engines of a rollout actor": both}
        gpus, num = runtime.gpus_per_env_runner or float(_is_local(config)), runtime.num_env_runners
    return [
        Place(
            name=kind,
            num=max(1, num),
            num_gpus=gpus,
            bytes_of={"overhead": _OVERHEAD} | held,
            remedies=_MEMORY_OF_ENGINES,
        )
        for kind, held in kinds.items()
    ]


def _is_local(config: RunConfig) -> bool:
    """All in one process, which takes the GPU that is there."""
    return config.runtime.num_learners == 0 and config.runtime.num_env_runners == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Of one round; pairs are of the policy and the world model."""

    train: float
    read: float
    written: list[float]
    lengths: list[float]


def _round(
    config: RunConfig,
    *,
    shapes: Sequence[ModelShape],
    lengths: Sequence[float],
    share: float,
) -> _Work:
    """FLOPs of a round: those of the run by its phases, over its rounds."""
    sections = (config.policy, config.world_model)
    optimizers = (config.policy_learner.optimizer, config.world_model_learner.optimizer)
    work, rounds = phases(config), max(1, config.rounds)
    counts = (
        (sum(p.policy_passes for p in work), sum(p.policy_acts for p in work)),
        (sum(p.model_passes for p in work), sum(p.model_answers for p in work)),
    )
    done = _Work(train=0.0, read=0.0, written=[], lengths=[])
    train = read = 0.0
    for shape, section, optimizer, (passes, played), tokens in zip(
        shapes, sections, optimizers, counts, lengths, strict=True
    ):
        length = min(tokens or section.model.max_context, section.model.max_context)
        forward = shape.forward_flops(int(length), num_logits=int(length * share))
        # The way back costs as much for activations, and as much again for weights that learn.
        times = (2 if section.model.lora.rank else 3) + optimizer.gradient_checkpointing
        train += passes * forward * times / rounds
        read += played * shape.forward_flops(int(length * (1 - share))) / rounds
        done.written.append(played * length * share / rounds)
        done.lengths.append(length)
    return replace(done, train=train, read=read)


def asks_for_gpus(config: RunConfig) -> bool:
    """Whether the run's settings give anything a GPU."""
    runtime = config.runtime
    asked = (config.engine.num_gpus, runtime.gpus_per_learner, runtime.gpus_per_env_runner)
    devices = (config.policy.model.device, config.world_model.model.device)
    return any(asked) or any(device.startswith("cuda") for device in devices)


def gpu_here() -> Gpu | None:
    """The first GPU that this process sees, with the figures of its kind where they are known."""
    import torch

    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    kind = next((gpu for gpu in KNOWN_GPUS if gpu.name.split()[0] in found.name), H100)
    return replace(kind, name=found.name, memory=float(found.total_memory))


def refuse_what_cannot_fit(config: RunConfig) -> None:
    """Raises `TooLittleMemoryError` before a run is launched on GPUs that are too small for it.

    Says nothing where no GPU is seen from here: a cluster's may be of any size.
    """
    here = gpu_here() if asks_for_gpus(config) else None
    if here is not None:
        estimate(config, gpu=here).check()


def _too_little(places: Sequence[Place], *, gpu: Gpu) -> str:
    needed = sum(place.total for place in places)
    largest = sorted(
        ((value, name) for place in places for name, value in place.bytes_of.items()), reverse=True
    )
    told = ", ".join(f"{name} {value / 2**30:.1f} GiB" for value, name in largest[:5])
    remedies = [remedy for place in places for remedy in place.remedies]
    return (
        f"too little memory: {' and '.join(place.name for place in places)} would need "
        f"{needed / 2**30:.1f} GiB of one GPU, and {gpu.name} has {gpu.memory / 2**30:.1f} GiB "
        f"({told}); what helps: {'; '.join(dict.fromkeys(remedies))}"
    )


__all__ = [
    "KNOWN_GPUS",
    "L40S",
    "Estimate",
    "Place",
    "Reached",
    "TooLittleMemoryError",
    "asks_for_gpus",
    "estimate",
    "gpu_here",
    "refuse_what_cannot_fit",
]
