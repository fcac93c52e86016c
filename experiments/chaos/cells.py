"""What is broken, and when: the matrix of victims and phases, and the runs that it is done to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PHASES = ("act", "model", "imagine", "improve", "evaluate", "checkpoint")


class Victim(StrEnum):
    RUNNER = "runner"
    """A rollout actor is killed."""
    ENGINE = "engine"
    """An engine actor is killed."""
    LEARNER = "learner"
    """One of two learner actors is killed."""
    NODE = "node"
    """One of two nodes, with every process on it, is killed."""
    DRIVER = "driver"
    """The run's own process is killed; `dyna resume` goes on."""
    HUNG_RUNNER = "hung_runner"
    """A rollout actor is stopped, and never answers again."""
    HUNG_ENGINE = "hung_engine"
    """An engine actor is stopped, and never answers again."""
    HUNG_WORLD = "hung_world"
    """A step of the real world never ends."""
    LATE_NODE = "late_node"
    """The only node with room is killed, and another one joins later."""
    LAST_NODE = "last_node"
    """The only node with room is killed; the run gives up, and is resumed when there is one."""
    FULL_STORE = "full_store"
    """Somebody else fills Ray's smallest object store again and again."""


WHOLE_RUN = "run"
"""In the place of a phase, for what lasts or is not bound to one."""
EVERY = "every"
"""In the place of a phase: one run is hit in every phase, each time in another round."""

_KILLED = (Victim.RUNNER, Victim.ENGINE, Victim.LEARNER, Victim.NODE, Victim.DRIVER)
_HUNG = ((Victim.HUNG_RUNNER, "act"), (Victim.HUNG_ENGINE, "imagine"), (Victim.HUNG_WORLD, "act"))
_NODES = (Victim.NODE, Victim.LATE_NODE, Victim.LAST_NODE)
_GONE = ((Victim.LATE_NODE, "act"), (Victim.LAST_NODE, "improve"))

NUM_ROUNDS = 7
"""Of every run: one for each phase, and one to go on in."""
GROUP_SIZES = {"real": 2, "imagined": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fault. Example: `Cell(victim=Victim.ENGINE, phase="imagine")`, named `engine:imagine`."""

    victim: Victim
    phase: str

    @property
    def name(self) -> str:
        return f"{self.victim}:{self.phase}"

    @property
    def layout(self) -> tuple[str, ...]:
        """Which actors its run has. Who plays, speaks and learns must make no difference: all are
        compared with one undisturbed run, of two rollout actors."""
        if self.victim is Victim.LEARNER:
            return "runtime.num_env_runners=1", "runtime.num_learners=2"
        with_engines = (Victim.ENGINE, Victim.HUNG_ENGINE, *_NODES)
        engines = ("engine.num_actors=2",) if self.victim in with_engines else ()
        return "runtime.num_env_runners=2", *engines

    @property
    def limits(self) -> tuple[str, ...]:
        """How long its run waits for what has gone wrong; they change nothing of what it does."""
        return _LIMITS.get(self.victim, ())

    @property
    def phases(self) -> tuple[str, ...]:
        """Those in which it is hit, in turn."""
        return PHASES if self.phase == EVERY else (self.phase,)

    @property
    def on_nodes(self) -> bool:
        """It needs a cluster of several nodes; the others have a Ray of their own."""
        return self.victim in (*_NODES, Victim.FULL_STORE)


_LIMITS = {
    Victim.LAST_NODE: ("runtime.placement_timeout_s=20",),
    Victim.HUNG_RUNNER: ("runtime.runner_timeout_s=20",),
    Victim.HUNG_ENGINE: ("engine.request_timeout_s=15",),
    Victim.HUNG_WORLD: (
        "world.isolation=process",
        "world.workers.num=1",
        "world.step_timeout_s=10",
    ),
}

MATRIX = (
    *(Cell(victim=victim, phase=phase) for victim in _KILLED for phase in PHASES),
    *(Cell(victim=victim, phase=phase) for victim, phase in (*_HUNG, *_GONE)),
    Cell(victim=Victim.FULL_STORE, phase=WHOLE_RUN),
)

DANGEROUS = (
    "runner:every", "engine:every", "learner:improve", "learner:checkpoint", "node:imagine",
    "driver:checkpoint", "hung_world:act",
)  # fmt: skip
"""Where a victim holds what nobody else has: the cells that run as tests."""


TOGETHER = tuple(Cell(victim=victim, phase=EVERY) for victim in _KILLED)
"""The rows of the matrix, each in one run: it takes a fifth of the time, and tells less."""


def find(name: str) -> Cell:
    """The cell called `victim:phase`. Raises `ValueError` if there is none."""
    found = [cell for cell in (*MATRIX, *TOGETHER) if cell.name == name]
    if not found:
        known = ", ".join(cell.name for cell in MATRIX)
        raise ValueError(f"there is no cell {name!r}; there are {known}")
    return found[0]


def settings(cell: Cell, *, model: Path, folder: Path) -> list[str]:
    """Of the cell's run in `folder`, as for `dyna train`."""
    params = f"{{num_doors: 2, step_s: 0.03, hang: {folder / 'hang'}}}"
    noting = f"{{folder: {folder / 'noted'}}}"
    return [
        "name=chaos", "seed=3", f"rounds={NUM_ROUNDS}", f"output={folder}",
        "world.name=experiments.chaos.parts:PacedCorridor", f"world.params={params}",
        "world.max_turns=3",
        "policy_learner.algorithm.name=experiments.chaos.parts:NotingGRPO",
        f"policy_learner.algorithm.params={noting}",
        f"policy.model.path={model}", "policy.model.max_context=768", "policy.actions=admissible",
        f"world_model.model.path={model}", "world_model.model.max_context=768",
        "world_model.max_new_tokens=12",
        "policy_learner.imitation_epochs=1", "policy_learner.ref_kl=0.05",
        "policy_learner.epochs=2", "policy_learner.optimizer.tokens_per_batch=256",
        "world_model_learner.optimizer.tokens_per_batch=256",
        "world_model_learner.first_epochs=1", "world_model_learner.epochs=2",
        "real.demonstrations=2", "real.explorations=4", "real.exploration.name=random",
        "real.episodes_per_round=8", f"real.group_size={GROUP_SIZES['real']}",
        "imagination.episodes_per_round=32", "imagination.batches_per_round=2",
        f"imagination.group_size={GROUP_SIZES['imagined']}", "imagination.horizon=2",
        "evaluation.num_tasks=8", "evaluation.fidelity_episodes=2",
        "runtime.backend=rllib", "tracking.keep_checkpoints=4", *cell.layout,
        *cell.limits,
    ]  # fmt: skip
