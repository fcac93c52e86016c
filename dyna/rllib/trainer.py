"""A `TokenTrainer` whose work is done by the learners of a `LearnerGroup`.

It holds a replica of the model in the CPU's memory, always equal to the learners', so that whoever
scores or copies weights in the driver needs not know where they were trained. A checkpoint holds
the same as an in-process trainer's: a run may be resumed with another number of learners.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import ray
from ray.exceptions import NodeDiedError, RayActorError
from ray.rllib.core.learner.learner_group import LearnerGroup
from torch import Tensor
from transformers import PreTrainedModel

from dyna.rllib.failures import LostLearnerError
from dyna.rllib.learner import TokenLearner
from dyna.training.penalties import Penalty
from dyna.training.trainer import SavedTrainer, TokenTrainer
from dyna.training.weights import put_weights
from dyna.types import Metrics, TrainingSample


class RLlibTrainer(TokenTrainer):
    """The driver's handle on module `role` of `group`, which has remote learners."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        group: LearnerGroup,
        role: str,
        arguments: dict[str, Any],
    ) -> None:
        """`model` becomes the replica; `arguments` are those of `TokenTrainer`."""
        super().__init__(model, **arguments)
        self._group = group
        self._role = role
        self._frozen = False

    def train(
        self,
        samples: Sequence[TrainingSample],
        *,
        epochs: float,
        seed: int,
        learning_rate: float | None = None,
        ce_scale: float = 1.0,
        penalties: Sequence[Penalty] = (),
        on_step: Callable[[int, int], None] | None = None,
    ) -> Metrics:
        """As `TokenTrainer.train`; `on_step` is called once, when all is done.

        Raises `LostLearnerError` when a learner died: resume from the last checkpoint.
        """
        arguments = {
            "epochs": epochs,
            "seed": seed,
            "learning_rate": learning_rate,
            "ce_scale": ce_scale,
        }
        ref = ray.put((list(samples), list(penalties)))
        answers = self._each(partial(_train, role=self._role, ref=ref, arguments=arguments))
        problems = [answer for answer in answers if isinstance(answer, str)]
        if problems:
            raise FloatingPointError(problems[0])
        metrics: Metrics = answers[0]
        num_steps = int(metrics["optimizer_steps"])
        if num_steps:
            self.version += 1
            self._pull()
            if on_step is not None:
                on_step(num_steps, num_steps)
        return metrics

    def forward_backward(self, *_: Any, **__: Any) -> Metrics:
        raise NotImplementedError("the learners take their steps together; call train")

    def optimizer_step(self, learning_rate: float, *, penalties: Sequence[Penalty] = ()) -> float:
        raise NotImplementedError("the learners take their steps together; call train")

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        super().load_weights(weights)
        self._each(partial(_load_weights, role=self._role, ref=ray.put(dict(weights))))

    def mark(self) -> None:
        super().mark()
        self._each(partial(_mark, role=self._role))

    def rewind(self) -> None:
        super().rewind()
        self._each(partial(_rewind, role=self._role))

    def unmark(self) -> None:
        super().unmark()
        self._each(partial(_unmark, role=self._role))

    def freeze_reference(self) -> None:
        self._frozen = True  # The learners hold it; nothing is trained here.
        self._each(partial(_freeze_reference, role=self._role))

    def update_reference(self, rate: float) -> None:
        self._each(partial(_update_reference, role=self._role, rate=rate))

    def drop_reference(self) -> None:
        self._frozen = False
        self._each(partial(_drop_reference, role=self._role))

    @property
    def has_reference(self) -> bool:
        return self._frozen

    def log_probs(self, samples: Sequence[TrainingSample]) -> list[tuple[float, ...]]:
        """As `TokenTrainer.log_probs`, computed by the learners."""
        if not samples:
            return []
        call = partial(_log_probs, role=self._role, ref=ray.put(list(samples)))
        answers = [answer for answer in self._each(call) if answer is not None]
        found: list[tuple[float, ...]] = [()] * len(samples)
        for index, scores in enumerate(answers):
            found[index :: len(answers)] = scores
        return found

    def save(self, folder: str) -> None:
        """Write what `TokenTrainer.save` would, in as many parts as the models are held in.

        Learners that see the folder write into it themselves.
        """
        # Learners have working folders of their own.
        path = Path(folder).resolve()
        path.mkdir(parents=True, exist_ok=True)
        with _marked(path) as mark:
            call = partial(_save, role=self._role, folder=str(path), mark=mark)
            for files in self._each(call):
                for name, content in files.items():
                    (path / name).write_bytes(content)

    def load(self, folder: str) -> None:
        """Restore every learner. Raises as `TokenTrainer.load` does, before any has changed."""
        path = Path(folder).resolve()
        saved = SavedTrainer(path, model=self.model)
        put_weights(self.model, saved.weights.read_all())
        self.version = saved.version
        self._frozen = saved.reference is not None
        with _marked(path) as mark:
            is_seen = all(self._each(partial(_sees, folder=str(path), mark=mark)))
            ref = None
            if not is_seen:
                names = [file for file in path.iterdir() if file.is_file()]
                ref = ray.put({file.name: file.read_bytes() for file in names})
            self._each(partial(_restore, role=self._role, folder=str(path), ref=ref))

    def _pull(self) -> None:
        answers = self._each(partial(_weights, role=self._role))
        put_weights(self.model, next(weights for weights in answers if weights is not None))

    def _each(self, call: Callable[[TokenLearner], Any]) -> list[Any]:
        """The answers of all learners, in their order."""
        results = self._group.foreach_learner(cast(Any, call)).result_or_errors
        errors = [cast(Exception, result.get()) for result in results if not result.ok]
        # Those that survive the death of a peer report a broken connection.
        deaths = [error for error in errors if isinstance(error, RayActorError | NodeDiedError)]
        num_gone = len(deaths) + len(self._group) - len(results)
        if num_gone:
            # Not asked to leave their collective in good order, which they could not.
            executor: Any = self._group._backend_executor  # pyright: ignore[reportPrivateUsage]
            executor.shutdown(graceful_termination=False)
            raise LostLearnerError(
                f"{num_gone} of {len(self._group)} learners of {self._role!r} died; resume from "
                "the last checkpoint"
            ) from next(iter(deaths), None)
        if errors:
            raise RuntimeError(f"a learner of {self._role!r} failed") from errors[0]
        return [result.get() for result in results]


def _train(
    learner: TokenLearner, *, role: str, ref: Any, arguments: dict[str, Any]
) -> Metrics | str:
    samples, penalties = ray.get(ref)
    return learner.train_on(role, samples=samples, arguments={**arguments, "penalties": penalties})


def _load_weights(learner: TokenLearner, *, role: str, ref: Any) -> None:
    learner.trainers[role].load_weights(ray.get(ref))


def _mark(learner: TokenLearner, *, role: str) -> None:
    learner.trainers[role].mark()


def _rewind(learner: TokenLearner, *, role: str) -> None:
    learner.trainers[role].rewind()


def _unmark(learner: TokenLearner, *, role: str) -> None:
    learner.trainers[role].unmark()


def _freeze_reference(learner: TokenLearner, *, role: str) -> None:
    learner.trainers[role].freeze_reference()


def _update_reference(learner: TokenLearner, *, role: str, rate: float) -> None:
    learner.trainers[role].update_reference(rate)


def _drop_reference(learner: TokenLearner, *, role: str) -> None:
    learner.trainers[role].drop_reference()


def _weights(learner: TokenLearner, *, role: str) -> dict[str, Tensor] | None:
    return learner.weights(role)


def _log_probs(learner: TokenLearner, *, role: str, ref: Any) -> list[tuple[float, ...]] | None:
    return learner.log_probs(role, samples=ray.get(ref))


def _save(learner: TokenLearner, *, role: str, folder: str, mark: str) -> dict[str, bytes]:
    return learner.save(role, folder=folder, mark=mark)


def _sees(learner: TokenLearner, *, folder: str, mark: str) -> bool:
    return learner.sees(folder, mark=mark)


def _restore(learner: TokenLearner, *, role: str, folder: str, ref: Any) -> None:
    learner.restore(role, folder=folder, files=None if ref is None else ray.get(ref))


@contextmanager
def _marked(folder: Path) -> Generator[str]:
    """The name of a file in `folder` that only who shares this disk can see."""
    mark = folder / f".seen-{uuid4().hex}"
    mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink()
