"""Token training against `transformers.Trainer`: same model, data, dtype, optimizer and batches.

Both see every sample once per measurement, in AdamW steps of about as many real tokens, and both
compute the same loss (cross entropy on the same target tokens). The two are alternated in one run,
so that whatever else the machine does falls on both, and the median of the pairwise ratios counts.
"""

from __future__ import annotations

import copy
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset
from transformers import PrinterCallback, Qwen2ForCausalLM, Trainer, TrainingArguments

from dyna.config import OptimizerConfig
from dyna.training.models import tiny_config
from dyna.training.packing import make_batches, pack, padding_waste
from dyna.training.trainer import TokenTrainer
from dyna.types import TrainingSample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_VOCAB = 1200
_IGNORED = -100
_SAMPLES_PER_STEP = 18
"""About 4096 tokens of samples that are 230 long on average."""
_OPTIMIZER = OptimizerConfig(learning_rate=1e-3, warmup_steps=0, tokens_per_batch=4096)


def bench_training_vs_trainer(
    *, num_samples: int = 72, num_pairs: int = 3, seed: int = 0
) -> dict[str, float]:
    """Tokens per second of both, the median ratio (`training_vs_trainer`) and `padding_waste`.

    `tokens_per_second` counts real tokens, not padding, in CPU time of this process: what the
    machine does for others is no part of it.
    """
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(tiny_config(_VOCAB))
    samples = realistic_samples(num_samples, seed=seed)
    num_tokens = sum(len(sample.token_ids) for sample in samples)
    ours = _token_trainer(copy.deepcopy(model), samples=samples)
    with tempfile.TemporaryDirectory() as folder:
        theirs = _transformers_trainer(copy.deepcopy(model), samples=samples, folder=folder)
        _seconds(ours)
        _seconds(theirs)
        pairs = [(_seconds(ours), _seconds(theirs)) for _ in range(num_pairs)]
    return {
        "training_vs_trainer": statistics.median(their / our for our, their in pairs),
        "training_tokens_per_second": num_tokens / statistics.median(our for our, _ in pairs),
        "trainer_tokens_per_second": num_tokens / statistics.median(their for _, their in pairs),
        "padding_waste": measure_padding_waste(samples, seed=seed),
    }


def realistic_samples(num: int, *, seed: int) -> list[TrainingSample]:
    """Transcripts of 60 to 400 tokens; turns in which about half the tokens are trained."""
    rng = random.Random(seed)
    samples: list[TrainingSample] = []
    for _ in range(num):
        length = rng.randint(60, 400)
        ce = [0.0] * min(30, length)
        while len(ce) < length:
            spoken = rng.randint(4, 16)
            ce += [0.0] * spoken + [1.0] * spoken
        ids = tuple(rng.randrange(_VOCAB) for _ in range(length))
        samples.append(TrainingSample(token_ids=ids, ce=(*ce[: length - 1], 1.0)))
    return samples


def measure_padding_waste(samples: list[TrainingSample], *, seed: int) -> float:
    """Share of computed tokens that belong to no sample, over one epoch of batches."""
    batches = make_batches(
        samples, tokens_per_batch=_OPTIMIZER.tokens_per_batch, epochs=1.0, seed=seed
    )
    rows = [
        row
        for batch in batches
        for row in pack(batch, max_tokens=4096, max_targets=2**16, device=torch.device("cpu"))
    ]
    return padding_waste(rows)


def _token_trainer(model: PreTrainedModel, *, samples: list[TrainingSample]) -> Callable[[], Any]:
    trainer = TokenTrainer(model, optimizer=_OPTIMIZER)
    return lambda: trainer.train(samples, epochs=1.0, seed=0)


def _transformers_trainer(
    model: PreTrainedModel, *, samples: list[TrainingSample], folder: str
) -> Callable[[], Any]:
    """The trainer of most practitioners at its best here: batches of like lengths, fused AdamW."""
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=_SAMPLES_PER_STEP,
        num_train_epochs=1,
        learning_rate=_OPTIMIZER.learning_rate,
        weight_decay=_OPTIMIZER.weight_decay,
        adam_beta2=_OPTIMIZER.beta2,
        max_grad_norm=_OPTIMIZER.max_grad_norm,
        optim="adamw_torch_fused",
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    data = _Labelled(samples)

    def run() -> None:
        trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=_collate)
        trainer.remove_callback(PrinterCallback)
        trainer.train()

    return run


class _Labelled(Dataset[dict[str, list[int]]]):
    def __init__(self, samples: list[TrainingSample]) -> None:
        self._rows = [
            {
                "input_ids": list(sample.token_ids),
                "labels": [
                    token if weight else _IGNORED
                    for token, weight in zip(sample.token_ids, sample.ce, strict=True)
                ],
            }
            for sample in samples
        ]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self._rows[index]


def _collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-padded to the longest, with the attention mask that padding needs."""
    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": 0, "labels": _IGNORED}
    batch = {
        name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])
        for name, value in fill.items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    batch["attention_mask"] = (torch.arange(longest)[None] < lengths[:, None]).long()
    return batch


def _seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start
