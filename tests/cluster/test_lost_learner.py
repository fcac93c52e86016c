"""A learner that is killed is told by name, and takes its peers along, not the process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from dyna.rllib import DynaConfig
from dyna.rllib.failures import LostLearnerError
from dyna.rllib.learner import trainer_arguments
from dyna.rllib.trainer import RLlibTrainer
from dyna.training.models import load_model
from dyna.types import TrainingSample
from tests.cluster.tiny_build import tiny_config

pytestmark = pytest.mark.cluster

SAMPLES = [TrainingSample(token_ids=(5, 6, 7, 8), ce=(0.0, 1.0, 1.0, 1.0)) for _ in range(4)]


def test_a_learner_that_is_killed_is_lost_with_its_peers(local_ray: str, model_folder: str) -> None:
    config = tiny_config(model_folder, num_learners=2)
    group = DynaConfig().dyna(run_config=config).build_learner_group()
    trainer = RLlibTrainer(
        load_model(config.policy.model),
        group=group,
        role="policy",
        arguments=trainer_arguments(config, role="policy"),
    )
    trainer.train(SAMPLES, epochs=1.0, seed=0)

    def process_id(_: Any, __: Any = None) -> int:
        return os.getpid()

    answers: Any = group.foreach_learner(process_id).result_or_errors
    first, second = (answer.get() for answer in answers)
    os.kill(second, signal.SIGKILL)
    with pytest.raises(LostLearnerError, match="1 of 2 learners of 'policy' died; resume from"):
        trainer.train(SAMPLES, epochs=1.0, seed=0)
    with pytest.raises(LostLearnerError, match="2 of 2 learners"):
        trainer.train(SAMPLES, epochs=1.0, seed=0)
    group.shutdown()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{first}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{first}").exists()
