"""How an LLM policy learns: an algorithm gives credit, a renderer samples, a trainer steps.

Cloning of demonstrations comes first (`imitate`) and is mixed into every later update, so that
what was shown is not forgotten while the policy practices.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from agents import mismatch
from agents.algorithms.filtered_bc import FilteredBC
from agents.demonstrations import Demonstrations
from dyna.config import PolicyLearnerConfig
from dyna.protocols import Algorithm
from dyna.rendering import Renderer
from dyna.seeding import derive_seed
from dyna.starts import skill_of
from dyna.training.tensor_files import TensorFiles, write_tensors
from dyna.training.trainer import TokenTrainer
from dyna.training.weights import distinct_weights
from dyna.types import Credit, Metrics, TrainingSample, Trajectory, TrajectoryGroup

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = "dyna-policy-learner-2"
_KEPT = "kept"


class LLMPolicyLearner:
    """Trains the model in `trainer`; satisfies `PolicyLearner` and `Stateful`.

    Example: `LLMPolicyLearner(trainer, renderer=renderer, algorithm=GRPO(), config=config)`
    """

    def __init__(
        self,
        trainer: TokenTrainer,
        *,
        renderer: Renderer,
        algorithm: Algorithm,
        config: PolicyLearnerConfig,
        demonstrations: Sequence[Trajectory] = (),
        seed: int = 0,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        self.trainer = trainer
        self._renderer = renderer
        self._algorithm = algorithm
        self._config = config
        self._seed = seed
        self._on_step = on_step
        self._num_updates = 0
        self._demonstrations, _ = self._clone_samples(demonstrations)
        self._kept: dict[str, Tensor] | None = None
        """Weights to go back to."""
        if config.ref_kl and not trainer.has_reference:
            trainer.freeze_reference()

    @property
    def version(self) -> int:
        return self.trainer.version

    def imitate(self, demonstrations: Sequence[Trajectory]) -> Metrics:
        """Clone the successful ones, and remember them, and only them, for later updates.

        Afterwards the KL of later updates is measured against the weights that cloning ended with.
        """
        self._demonstrations, dropped = self._clone_samples(demonstrations)
        samples = [s for own in self._demonstrations.by_skill.values() for s in own]
        metrics = self._prefixed(
            "policy/imitation_",
            self.trainer.train(
                samples,
                epochs=self._config.imitation_epochs,
                seed=derive_seed(self._seed, "imitate"),
                learning_rate=self._config.imitation_learning_rate,
                on_step=self._on_step,
            ),
        )
        if self._config.ref_kl:
            self.trainer.freeze_reference()
        return metrics | {
            "policy/imitation_samples": float(len(samples)),
            "policy/imitation_dropped_overlong": float(dropped),
            "policy/version": float(self.version),
        }

    def update(self, groups: Sequence[TrajectoryGroup]) -> Metrics:
        """Learn from `groups`; without any credit in them, nothing changes."""
        credits = [replace(c, ref_kl=self._config.ref_kl) for c in self._algorithm(groups)]
        samples, dropped = self._samples(credits)
        counts = {
            "policy/groups": float(len(groups)),
            "policy/samples": float(len(samples)),
            "policy/dropped_overlong": float(dropped),
        }
        stale = mismatch.staleness(groups, version=self.version)
        counts |= self._prefixed("policy/", stale)
        if not samples:
            return counts | {"policy/version": float(self.version)}
        samples, found = mismatch.correct(
            samples,
            log_probs=self.trainer.log_probs,
            max_importance=self._config.max_importance,
            is_stale=stale.get("staleness_max", 0.0) > 0,
        )
        counts |= self._prefixed("policy/", found or self._watch_engine(groups))
        # Beside credit that clones already, demonstrations weigh relative to it, within one stream.
        weight = self._config.demonstration_weight
        clones = any(credit.ce for credit in credits)
        shown: list[TrainingSample] = []
        if weight:
            shown = self._demonstrations.draw(
                len(samples), seed=self._seed, update=self._num_updates
            )
        if clones:
            shown = [replace(s, ce=tuple(weight * value for value in s.ce)) for s in shown]
        metrics = self.trainer.train(
            [*samples, *shown],
            epochs=self._config.epochs,
            seed=derive_seed(self._seed, "update", self._num_updates),
            ce_scale=1.0 if clones else weight,
            on_step=self._on_step,
        )
        self._num_updates += 1
        if self._config.ref_kl and self._config.slow_copy:
            self.trainer.update_reference(self._config.slow_copy)
        counts["policy/demonstrations"] = float(len(shown))
        counts["policy/version"] = float(self.version)
        return self._prefixed("policy/", metrics) | counts

    def keep_weights(self) -> None:
        """Hold on to a copy of the weights of this moment."""
        distinct = distinct_weights(self.trainer.model)
        self._kept = {n: t.cpu() for n, t in self.trainer.weights().items() if n in distinct}

    def restore_weights(self) -> None:
        """Go back to the copy; the version grows. Raises `ValueError` where there is none."""
        if self._kept is None:
            raise ValueError("no weights were kept to go back to; call keep_weights first")
        self.trainer.load_weights(self._kept)
        self.trainer.version += 1

    def save(self, folder: str) -> None:
        self.trainer.save(str(Path(folder) / "trainer"))
        if self._kept is not None:
            write_tensors(Path(folder) / f"{_KEPT}.safetensors", tensors=self._kept)
        state = {
            "format": _FORMAT,
            "num_updates": self._num_updates,
            "has_kept": self._kept is not None,
            "demonstrations": self._demonstrations.to_json(),
        }
        (Path(folder) / "learner.json").write_text(json.dumps(state), encoding="utf-8")

    def load(self, folder: str) -> None:
        """Restore what `save` wrote; raises `ValueError` naming a missing or damaged file."""
        path = Path(folder) / "learner.json"
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            if state["format"] != _FORMAT:
                raise ValueError(f"its format must be {_FORMAT!r}, got {state['format']!r}")
            demonstrations = Demonstrations.from_json(state["demonstrations"])
            num_updates, has_kept = int(state["num_updates"]), bool(state["has_kept"])
        except FileNotFoundError as error:
            raise ValueError(f"{str(path)!r} does not exist: no learner was saved there") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(path)!r} is damaged ({error}); restore an older one") from error
        kept = TensorFiles(Path(folder), _KEPT).read_all() if has_kept else None
        self.trainer.load(str(Path(folder) / "trainer"))
        self._demonstrations = demonstrations
        self._num_updates = num_updates
        self._kept = kept

    def _clone_samples(self, demonstrations: Sequence[Trajectory]) -> tuple[Demonstrations, int]:
        groups = [TrajectoryGroup(task=t.task, trajectories=(t,)) for t in demonstrations]
        credits = FilteredBC()(groups)
        made = [(self._renderer.policy_sample(c), skill_of(c.trajectory.task)) for c in credits]
        fitting = [(sample, skill) for sample, skill in made if sample is not None]
        shown = Demonstrations.of([s for s, _ in fitting], skills=[skill for _, skill in fitting])
        return shown, len(made) - len(fitting)

    def _samples(self, credits: Sequence[Credit]) -> tuple[list[TrainingSample], int]:
        """Samples that fit the context, and how many did not."""
        made = [self._renderer.policy_sample(credit) for credit in credits]
        fitting = [sample for sample in made if sample is not None]
        return fitting, len(made) - len(fitting)

    def _watch_engine(self, groups: Sequence[TrajectoryGroup]) -> Metrics:
        """The gap to the engine where no policy gradient needs it, from a few episodes."""
        silent = [Credit(trajectory=t, rl=(0.0,) * len(t.turns)) for t in mismatch.sampled(groups)]
        samples = mismatch.probe(self._samples(silent)[0], max_tokens=mismatch.WATCH_TOKENS)
        learner = self.trainer.log_probs(samples)
        return mismatch.gap_metrics(mismatch.measure_gap(samples, learner=learner))

    @staticmethod
    def _prefixed(prefix: str, metrics: Metrics) -> Metrics:
        return {f"{prefix}{name}": value for name, value in metrics.items()}
