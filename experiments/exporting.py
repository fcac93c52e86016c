"""What a run has trained, as a folder that other programs load: a model, or an adapter.

The folder is what `transformers`, `peft`, vLLM and `model.path` of another run take.
"""

from __future__ import annotations

from pathlib import Path

from dyna import checkpoint, configuring
from dyna.rllib.parts import POLICY, ROLES
from dyna.training.lora import has_lora, save_adapter
from dyna.training.models import load_tokenizer, resolve_model_path
from experiments.build import build_trainers
from experiments.tiny.making import with_tiny_model


def export_model(run: Path, *, role: str, target: Path) -> str:
    """Write the newest checkpoint's `policy` or `world_model` with its tokenizer; says what it is.

    With `lora.rank` above 0 it is the adapter alone. Raises `ValueError` for a role that is none
    or is no language model in this run, `CheckpointError` for a run without a whole checkpoint,
    and `FileExistsError` for a target that holds something.
    """
    if role not in ROLES:
        raise ValueError(f"the model must be one of {', '.join(ROLES)}, got {role!r}")
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} is not empty; name a new folder")
    config = with_tiny_model(configuring.load_saved(run / "config.yaml"), folder=run)
    found = checkpoint.latest(run)
    if found is None:
        raise checkpoint.CheckpointError(f"{run} has no whole checkpoint yet; nothing is trained")
    trainers = build_trainers(config)
    if role not in trainers:
        raise ValueError(f"the {role} of {run} is no language model that the run trains")
    trainer = trainers[role]
    trainer.load(str(found / role / "trainer"))
    section = config.policy.model if role == POLICY else config.world_model.model
    if has_lora(trainer.model):
        base = resolve_model_path(section.path)
        save_adapter(trainer.model, folder=target, base_model=base)
        kind = f"an adapter of {base}"
    else:
        trainer.model.save_pretrained(target)
        kind = "a whole model"
    load_tokenizer(section).save_pretrained(target)
    return f"the {role} of {found.name}, {kind}"
