"""Keeps a language world model up to date with real experience, and lets no bad update go live.

Each update fine-tunes on fresh episodes mixed with replayed ones, then asks the gate. Whether an
episode is held out follows from its id alone, so what the gate asks about is never trained on, in
no round, out of no buffer. After a refusal all is as it was: weights, optimizer, what the buffer
was told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dyna.config import WorldModelLearnerConfig
from dyna.evaluation.fidelity import TurnScore
from dyna.files import read_json, write_json
from dyna.protocols import HasTargets, ModelUpdate, Regularizer, ReplayBuffer
from dyna.rendering import Renderer
from dyna.seeding import derive_seed, generator
from dyna.training.trainer import TokenTrainer
from dyna.types import Metrics, Source, TrainingSample, Trajectory
from worldmodels.candidates import Gate
from worldmodels.gate import GateVerdict
from worldmodels.noting import note_all
from worldmodels.regularizers import Regularizers
from worldmodels.scoring import score_turns
from worldmodels.targets import with_targets

if TYPE_CHECKING:
    from torch import Tensor

_MAX_DRAWS = 8
"""Times the buffer is asked before fewer replayed turns than wanted are taken."""


class LLMWorldModelLearner:
    """Trains `trainer`'s model as a world model; between updates it holds the live weights.

    `on_step(done, total)`, if set, is called after every optimizer step. Rehearsed episodes are
    learned from only with `rehearsed=True`; imagined ones never.
    """

    def __init__(
        self,
        trainer: TokenTrainer,
        renderer: Renderer,
        config: WorldModelLearnerConfig,
        *,
        use_hidden_state: bool = True,
        seed: int = 0,
        rehearsed: bool = False,
        regularizers: Sequence[Regularizer] = (),
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        if not 0.0 <= config.replay_ratio < 1.0:
            raise ValueError(
                f"world_model_learner.replay_ratio must be in [0, 1), got {config.replay_ratio}"
            )
        self.version = trainer.version
        """Of the live weights."""
        self.on_step = on_step
        self._trainer = trainer
        self._renderer = renderer
        self._config = config
        self._use_hidden_state = use_hidden_state
        self._seed = seed
        self._regularizers = Regularizers(regularizers)
        self._sources = {Source.REAL, *([Source.REHEARSED] if rehearsed else [])}
        self._num_updates = 0
        self._opens = True
        """The next update is the first of its experience."""
        self.gate = Gate(config.gate, seed=seed)

    def live_weights(self) -> dict[str, Tensor]:
        """Copies of the live model's weights, for an engine to load."""
        return self._trainer.weights()

    def is_held_out(self, trajectory: Trajectory) -> bool:
        """Whether the episode belongs to the gate, now and for ever."""
        return trajectory.source is Source.REAL and self.gate.held_out.belongs(trajectory)

    @property
    def num_bytes(self) -> int:
        """Bytes of the episodes that the gate holds out."""
        return self.gate.num_bytes

    def begin_experience(self, name: str) -> None:
        """The next update is the first on the experience `name`."""
        self._opens = True
        self._regularizers.begin_experience(name)

    def update(self, fresh: Sequence[Trajectory], replay: ReplayBuffer) -> Metrics:
        """Fine-tune on `fresh` and a share of `replay`, then go live or go back.

        Failed episodes teach nothing and are left out. Raises `ValueError` when one of either is
        imagined; then nothing has changed.
        """
        self._check_sources(fresh)
        usable = [t for t in fresh if t.turns and not t.stop.is_failure]
        held_out = [t for t in usable if self.is_held_out(t)]
        training = [t for t in usable if not self.is_held_out(t)]
        if self._config.frozen_after_first and self._num_updates:
            return self._report(trained=False)
        if not training:
            self.gate.held_out.add(held_out)
            return self._report(trained=False)
        is_first = self._num_updates == 0
        epochs = self._config.first_epochs if self._opens else self._config.epochs
        self._opens = False
        replayed = [] if is_first else self._draw(training, replay=replay, epochs=epochs)
        verdict, metrics = self._train_and_judge(
            training, replay=replay, replayed=replayed, held_out=held_out, epochs=epochs
        )
        self._num_updates += 1
        # Kept for the gates of later rounds: a round is judged on those before it.
        self.gate.held_out.add(held_out)
        if verdict.accepted:
            self._note([*training, *replayed], replay=replay)
        metrics["model/fresh_turns"] = float(_num_turns(training))
        metrics["model/replayed_turns"] = float(_num_turns(replayed))
        return metrics | self.gate.metrics(verdict) | self._report(trained=True)

    def _train_and_judge(
        self,
        training: Sequence[Trajectory],
        *,
        replay: ReplayBuffer,
        replayed: Sequence[Trajectory],
        held_out: Sequence[Trajectory],
        epochs: float,
    ) -> tuple[GateVerdict, Metrics]:
        questions = self.gate.questions(held_out)
        before = self._score(questions)
        if self._config.gate.enabled:
            self._trainer.mark()
        seed = derive_seed(self._seed, "update", self._num_updates)
        update, num_too_long = self._prepare(training, replay=replay, replayed=replayed, seed=seed)
        update = self._regularizers.begin(update)
        trained = self._trainer.train(
            _all_passes(update, epochs=epochs),
            epochs=1.0,
            seed=seed,
            penalties=update.penalties,
            on_step=self.on_step,
        )
        guarded = self._regularizers.end(update)
        number = self._num_updates
        verdict = self.gate.judge(
            before, new=self._score(questions), questions=questions, update=number
        )
        if verdict.accepted:
            self.version = self._trainer.version
            self._trainer.unmark()
        else:
            self.gate.refuse(self._trainer.model, verdict=verdict, update=number)
            self._trainer.rewind()
        self._regularizers.note_verdict(verdict.accepted)
        metrics = {
            f"model/{name}": trained[name] for name in _REPORTED if name in trained
        } | guarded
        return verdict, metrics | {"model/too_long_episodes": float(num_too_long)}

    def _prepare(
        self,
        training: Sequence[Trajectory],
        *,
        replay: ReplayBuffer,
        replayed: Sequence[Trajectory],
        seed: int,
    ) -> tuple[ModelUpdate, int]:
        """What is trained on, and how many episodes are not, for they do not fit the context."""
        fresh, too_long = self._render(training)
        old, old_too_long = self._render(replayed, replay=replay)
        update = ModelUpdate(
            trainer=self._trainer,
            fresh=tuple(fresh),
            replayed=tuple(old),
            number=self._num_updates,
            seed=seed,
        )
        return update, too_long + old_too_long

    def _render(
        self, trajectories: Sequence[Trajectory], *, replay: ReplayBuffer | None = None
    ) -> tuple[list[TrainingSample], int]:
        """Samples, with what `replay` stored of them, and how many do not fit the context."""
        rendered = [
            self._renderer.model_sample(t, use_hidden_state=self._use_hidden_state)
            for t in trajectories
        ]
        samples = [
            with_targets(sample, id=t.id, replay=replay)
            if isinstance(replay, HasTargets)
            else sample
            for t, sample in zip(trajectories, rendered, strict=True)
            if sample is not None
        ]
        return samples, len(rendered) - len(samples)

    def _draw(
        self, training: Sequence[Trajectory], *, replay: ReplayBuffer, epochs: float
    ) -> list[Trajectory]:
        """Old episodes for all passes together: `replay_ratio` of all the turns trained on."""
        ratio = self._config.replay_ratio
        wanted = round(epochs * _num_turns(training) * ratio / (1.0 - ratio))
        fresh_ids = {t.id for t in training}
        drawn: list[Trajectory] = []
        for _ in range(_MAX_DRAWS):
            missing = wanted - _num_turns(drawn)
            if missing <= 0 or len(replay) == 0:
                break
            found = replay.sample(missing)
            self._check_sources(found)
            for trajectory in found:
                is_old = trajectory.id not in fresh_ids and not self.is_held_out(trajectory)
                if is_old and not trajectory.stop.is_failure and _num_turns(drawn) < wanted:
                    drawn.append(trajectory)
        return drawn

    def _score(self, trajectories: Sequence[Trajectory]) -> list[TurnScore]:
        if not trajectories:
            return []
        return score_turns(
            self._trainer.model,
            self._renderer,
            trajectories,
            use_hidden_state=self._use_hidden_state,
        )

    def _note(self, trajectories: Sequence[Trajectory], *, replay: ReplayBuffer) -> None:
        """What the live model makes of each, for a buffer that keeps or draws by it."""
        note_all(
            replay,
            model=self._trainer.model,
            renderer=self._renderer,
            trajectories=trajectories,
            use_hidden_state=self._use_hidden_state,
        )

    def _check_sources(self, trajectories: Sequence[Trajectory]) -> None:
        for trajectory in trajectories:
            if trajectory.source not in self._sources:
                raise ValueError(
                    f"a world model learns from {sorted(self._sources)} episodes, but "
                    f"{trajectory.id!r} is {trajectory.source}; keep dreams out of its buffer"
                )

    def _report(self, *, trained: bool) -> Metrics:
        return {
            "model/updated": float(trained),
            "model/version": float(self.version),
            "model/updates": float(self._num_updates),
            "model/refused_updates": float(self.gate.num_refused),
            "model/held_out_episodes": float(len(self.gate.held_out)),
            "model/held_out_bytes": float(self.gate.num_bytes),
        }

    def save(self, folder: str) -> None:
        """Write the live weights with their optimizer, what the gate holds, and the counts."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self._trainer.save(str(path / "trainer"))
        self.gate.save(str(path / "gate"))
        self._regularizers.save(str(path / "regularizers"))
        state = {"version": self.version, "num_updates": self._num_updates}
        write_json(path / "learner.json", value=state)

    def load(self, folder: str) -> None:
        """Restore what `save` wrote.

        Raises `FileNotFoundError` or `ValueError` naming what is missing or damaged.
        """
        path = Path(folder)
        state = _read_state(path / "learner.json")
        self._trainer.load(str(path / "trainer"))
        self.gate.load(str(path / "gate"))
        self._regularizers.load(str(path / "regularizers"))
        self.version = state["version"]
        self._num_updates = state["num_updates"]
        self._opens = self._num_updates == 0


_REPORTED = ("loss_ce", "grad_norm", "optimizer_steps", "trained_tokens", "padding_waste")


def _all_passes(update: ModelUpdate, *, epochs: float) -> list[TrainingSample]:
    """As one list, so that a replayed episode comes once, not once per pass."""
    whole, part = divmod(epochs, 1.0)
    num_fresh = len(update.fresh)
    order = generator(update.seed, "part").permutation(num_fresh)[: round(part * num_fresh)]
    return [*update.fresh * int(whole), *(update.fresh[i] for i in order), *update.replayed]


def _num_turns(trajectories: Sequence[Trajectory]) -> int:
    return sum(len(t.turns) for t in trajectories)


def _read_state(path: Path) -> dict[str, int]:
    state = read_json(path)
    try:
        return {name: int(state[name]) for name in ("version", "num_updates")}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} is no state of a world-model learner ({error!r}); restore an older one"
        ) from error


__all__ = ["LLMWorldModelLearner"]
