"""How an LLM policy learns: an algorithm gives credit, a renderer samples, a trainer steps.

Cloning of demonstrations comes first (`imitate`) and is mixed into every later update, so that
what was shown is not forgotten while the policy practices.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from agents import mismatch
from agents.algorithms.filtered_bc import FilteredBC
from dyna.config import PolicyLearnerConfig
from dyna.protocols import Algorithm
from dyna.rendering import Renderer
from dyna.seeding import derive_seed, generator
from dyna.training.trainer import TokenTrainer
from dyna.types import Credit, Metrics, TrainingSample, Trajectory, TrajectoryGroup

_FORMAT = "dyna-policy-learner-1"
_DEMONSTRATION_SHARE = 0.25
"""Demonstrations drawn for an update, as a share of its other samples; enough to hold the start,
few enough to cost little."""


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
        if config.ref_kl and not trainer.has_reference:
            trainer.freeze_reference()

    @property
    def version(self) -> int:
        return self.trainer.version

    def imitate(self, demonstrations: Sequence[Trajectory]) -> Metrics:
        """Clone the successful ones, and remember them for later updates.

        Afterwards the KL of later updates is measured against the weights that cloning ended with.
        """
        samples, dropped = self._clone_samples(demonstrations)
        self._demonstrations = samples
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
        shown = self._draw_demonstrations(len(samples)) if weight else []
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
        counts["policy/demonstrations"] = float(len(shown))
        counts["policy/version"] = float(self.version)
        return self._prefixed("policy/", metrics) | counts

    def save(self, folder: str) -> None:
        self.trainer.save(str(Path(folder) / "trainer"))
        state = {
            "format": _FORMAT,
            "num_updates": self._num_updates,
            "demonstrations": [asdict(sample) for sample in self._demonstrations],
        }
        (Path(folder) / "learner.json").write_text(json.dumps(state), encoding="utf-8")

    def load(self, folder: str) -> None:
        """Restore what `save` wrote; raises `ValueError` naming a missing or damaged file."""
        path = Path(folder) / "learner.json"
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            demonstrations = [
                TrainingSample(**{name: tuple(values) for name, values in entry.items()})
                for entry in state["demonstrations"]
            ]
            num_updates = int(state["num_updates"])
        except FileNotFoundError as error:
            raise ValueError(f"{str(path)!r} does not exist: no learner was saved there") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} is damaged ({error}); restore an older one") from error
        if state.get("format") != _FORMAT:
            raise ValueError(
                f"{str(path)!r} must have format {_FORMAT!r}, got {state.get('format')!r}"
            )
        self.trainer.load(str(Path(folder) / "trainer"))
        self._demonstrations = demonstrations
        self._num_updates = num_updates

    def _clone_samples(
        self, demonstrations: Sequence[Trajectory]
    ) -> tuple[list[TrainingSample], int]:
        groups = [TrajectoryGroup(task=t.task, trajectories=(t,)) for t in demonstrations]
        return self._samples(FilteredBC()(groups))

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

    def _draw_demonstrations(self, num_samples: int) -> list[TrainingSample]:
        if not self._demonstrations:
            return []
        num = min(len(self._demonstrations), math.ceil(_DEMONSTRATION_SHARE * num_samples))
        rng = generator(self._seed, "demonstrations", self._num_updates)
        chosen = rng.choice(len(self._demonstrations), size=num, replace=False)
        return [self._demonstrations[int(index)] for index in chosen]

    @staticmethod
    def _prefixed(prefix: str, metrics: Metrics) -> Metrics:
        return {f"{prefix}{name}": value for name, value in metrics.items()}
