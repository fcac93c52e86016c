"""The gate at work: what candidates are asked about, and what becomes of those that are refused.

It keeps the held-out episodes, turns scores into a verdict, and writes refused models into the
folder of the run, so that what was refused, and why, can be looked at.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from dyna.config import GateBurden, GateConfig
from dyna.evaluation.fidelity import TurnScore
from dyna.files import read_json, write_json
from dyna.seeding import derive_seed
from dyna.training.tensor_files import write_tensors
from dyna.training.weights import distinct_weights
from dyna.types import Metrics, Trajectory
from worldmodels.gate import (
    ALL,
    FRESH,
    ExperienceVerdict,
    GateVerdict,
    is_worth_it,
    judge,
)
from worldmodels.held_out import HeldOutMemory, experience_name

_log = logging.getLogger(__name__)

_REFUSED = re.compile(r"update_(\d{6,})")
WEIGHTS = "weights.safetensors"


class Gate:
    """Judges one candidate after the other. With `folder` set, refused ones are kept there."""

    def __init__(self, config: GateConfig, *, seed: int) -> None:
        self.folder: Path | None = None
        self.held_out = HeldOutMemory(
            fraction=config.holdout_fraction if config.enabled else 0.0,
            max_bytes=config.max_bytes,
            seed=seed,
        )
        self.num_refused = 0
        self._config = config
        self._seed = seed

    @property
    def num_bytes(self) -> int:
        """What it keeps of the past."""
        return self.held_out.num_bytes

    def questions(self, fresh: Sequence[Trajectory]) -> list[Trajectory]:
        """Episodes to score live model and candidate on: the past, then the round's held-out."""
        if not self._config.enabled:
            return []
        past = self.held_out.trajectories()
        known = {trajectory.id for trajectory in past}
        return past + [t for t in fresh if self._config.recheck and t.id not in known]

    def judge(
        self,
        old: Sequence[TurnScore],
        *,
        new: Sequence[TurnScore],
        questions: Sequence[Trajectory],
        update: int,
    ) -> GateVerdict:
        """Of the scores of live model and candidate on `questions`.

        What wins on the past, which has chosen many a candidate, may have won by luck: the round's
        own episodes have chosen none.
        """
        held = {trajectory.id for trajectory in self.held_out.trajectories()}
        names = {t.id: experience_name(t) if t.id in held else FRESH for t in questions}
        seed = derive_seed(self._seed, "gate", update)

        def asked(of_past: bool) -> tuple[ExperienceVerdict, ...]:
            return judge(
                [s for s in old if (s.trajectory_id in held) == of_past],
                new=[s for s in new if (s.trajectory_id in held) == of_past],
                experiences=names,
                config=self._config,
                seed=seed,
            )

        verdict = GateVerdict(past=asked(True))
        if not verdict.accepted:
            return verdict
        verdict = replace(verdict, fresh=next(iter(asked(False)), None))
        if self._config.burden is not GateBurden.WORTH:
            return verdict
        return replace(verdict, is_worth_it=is_worth_it(verdict, config=self._config))

    def refuse(self, model: PreTrainedModel, *, verdict: GateVerdict, update: int) -> None:
        """Count it, say why, and keep the model as it is now."""
        self.num_refused += 1
        told = [part for part in verdict.parts if not part.accepted]
        why = "it is worse" if told else "neither is the past shown to be safe nor fresh turns won"
        _log.warning("the world model of update %d was refused: %s", update, why)
        for part in told or verdict.parts:
            _log.warning(
                "update %d: exact match on %d held-out turns of %s went from %.3f to %.3f (%d "
                "lost, %d gained; p=%.2g for worse, %.2g for safe), the loss by %+.3f nats a turn "
                "(p=%.2g for worse, %.2g for safe)%s",
                update,
                part.num_turns,
                part.experience,
                part.old_em,
                part.new_em,
                part.lost,
                part.gained,
                part.p_worse,
                part.p_safe,
                part.loss_rise,
                part.p_doubt,
                part.p_sure,
                "" if part.accepted else ": refused",
            )
        if self.folder is not None:
            self._keep(self.folder, model=model, verdict=verdict, update=update)

    def _keep(
        self, folder: Path, *, model: PreTrainedModel, verdict: GateVerdict, update: int
    ) -> None:
        for path in folder.glob("update_*"):
            match = _REFUSED.fullmatch(path.name)
            # Left by a future that this run has come back from.
            if match and int(match[1]) >= update:
                shutil.rmtree(path)
        place = folder / f"update_{update:06d}"
        place.mkdir(parents=True)
        if self._config.keep_refused:
            write_tensors(place / WEIGHTS, tensors=distinct_weights(model))
        write_json(place / "verdict.json", value={"update": update, **verdict.to_json()})
        kept = sorted(folder.glob(f"update_*/{WEIGHTS}"), reverse=True)
        for path in kept[self._config.keep_refused :]:
            path.unlink()

    def metrics(self, verdict: GateVerdict) -> Metrics:
        """The verdict, in all and of each experience."""
        past = [part for part in verdict.past if part.experience != ALL]
        num_turns = sum(part.num_turns for part in past)
        found: Metrics = {
            "model/gate_accepted": float(verdict.accepted),
            "model/gate_abstained": float(verdict.abstained),
            "model/gate_turns": float(num_turns),
        }
        if num_turns:
            found["model/gate_em_live"] = _mean([(p.old_em, p.num_turns) for p in past])
            found["model/gate_em_candidate"] = _mean([(p.new_em, p.num_turns) for p in past])
            found["model/gate_lost_turns"] = float(sum(part.lost for part in past))
            found["model/gate_gained_turns"] = float(sum(part.gained for part in past))
        for part in verdict.parts:
            of_one = {
                "accepted": float(part.accepted),
                "turns": float(part.num_turns),
                "em_live": part.old_em,
                "em_candidate": part.new_em,
                "p_worse": part.p_worse,
                "p_safe": part.p_safe,
                "loss_rise": part.loss_rise,
                "p_doubt": part.p_doubt,
                "p_sure": part.p_sure,
                "p_won": part.p_won,
            }
            found |= {f"model/gate/{part.experience}/{name}": of_one[name] for name in of_one}
        return found

    def save(self, folder: str) -> None:
        """What is held out, and the count; refused models have their own place."""
        self.held_out.save(folder)
        write_json(Path(folder) / "gate.json", value={"num_refused": self.num_refused})

    def load(self, folder: str) -> None:
        """Raises `FileNotFoundError` or `ValueError` naming what is missing or damaged."""
        path = Path(folder) / "gate.json"
        state = read_json(path)
        try:
            self.num_refused = int(state["num_refused"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(path)!r} is no state of a gate ({error!r}); restore an older one"
            ) from error
        self.held_out.load(folder)


def _mean(values: Sequence[tuple[float, int]]) -> float:
    return sum(value * num for value, num in values) / sum(num for _, num in values)


__all__ = ["WEIGHTS", "Gate"]
