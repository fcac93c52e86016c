"""Transcripts of all kinds, renderers for them, and how to read their samples."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dyna.rendering import Renderer
from dyna.testing import byte_tokenizer
from dyna.tokenizer import train_tokenizer
from dyna.types import (
    Action,
    Credit,
    Outcome,
    Start,
    StopReason,
    Task,
    TrainingSample,
    Trajectory,
    Turn,
)

QWEN = (
    "{%- if messages[0]['role'] == 'system' %}"
    "{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role != 'system' or not loop.first %}"
    "{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
"""ChatML as Qwen 2.5 has it: without a system message there is a default one."""
LLAMA = (
    "{{- bos_token }}{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
"""Llama 3: a first token, headers, and nothing between two messages."""
THINKING = (
    "{%- for message in messages %}{%- set text = message.content %}"
    "{%- if message.role == 'assistant' and not loop.last %}"
    "{%- set text = text.split('</think>')[-1] %}"
    "{{- '<|im_start|>assistant\n' + text + '<|im_end|>\n' }}"
    "{%- elif message.role == 'assistant' %}"
    "{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' + text + '<|im_end|>\n' }}"
    "{%- else %}{{- '<|im_start|>' + message.role + '\n' + text + '<|im_end|>\n' }}{%- endif %}"
    "{%- endfor %}"
)
"""Qwen 3's way: thoughts of all messages but the last are taken out."""
FORGETFUL = (
    "{%- for message in messages[-2:] %}"
    "{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{%- endfor %}"
)
LLAMA_TOKENS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")

TASK = Task(id="t", world="w", family="f", split="train")
WORDS = ("mug 1", "shelf 2", "go to", "You see ", ".", " ", "Nothing happens.", "[reward 1]", "\n")
texts = st.text(max_size=12) | st.lists(st.sampled_from(WORDS), max_size=5).map("".join)
commands = texts.filter(bool)
outcomes = st.builds(
    Outcome,
    observation=texts,
    reward=st.sampled_from([0.0, 1.0, -0.5]),
    terminated=st.booleans(),
)
turns = st.builds(
    lambda command, thought, outcome: Turn(
        action=Action(command=command, text=f"{thought}{command}" if thought else ""),
        outcome=outcome,
    ),
    command=commands,
    thought=texts,
    outcome=outcomes,
)
trajectories = st.builds(
    lambda played, seen, hidden: Trajectory(
        id="e",
        task=TASK,
        start=Start(observation=seen, hidden_state=hidden),
        turns=tuple(played),
        stop=StopReason.STEP_LIMIT,
    ),
    played=st.lists(turns, min_size=1, max_size=4),
    seen=texts,
    hidden=st.none() | texts,
)


def with_template(template: str | None, *, extra: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [*extra]})
    if extra:
        tokenizer.bos_token = extra[0]
    tokenizer.chat_template = template
    return tokenizer


@cache
def renderer(name: str, *, max_context: int = 4096, system_prompt: str = "") -> Renderer:
    tokenizers = {
        "trained": lambda: train_tokenizer(["You see a mug 1. You see a shelf 1."] * 3),
        "bytes": byte_tokenizer,
        "qwen": lambda: with_template(QWEN),
        "llama": lambda: with_template(LLAMA, extra=LLAMA_TOKENS),
    }
    return Renderer(tokenizers[name](), max_context=max_context, system_prompt=system_prompt)


every_renderer = pytest.mark.parametrize("name", ["trained", "bytes", "qwen", "llama"])
few = settings(max_examples=25, deadline=None)


def spelled(renderer: Renderer, token_ids: tuple[int, ...]) -> str:
    return str(renderer.tokenizer.decode(list(token_ids)))


def trained_runs(sample: TrainingSample, *, renderer: Renderer) -> list[tuple[int, ...]]:
    """The trained tokens, message by message."""
    runs: list[tuple[int, ...]] = []
    run: tuple[int, ...] = ()
    for token, weight in zip(sample.token_ids, sample.ce, strict=True):
        if weight:
            run += (token,)
        if run and (not weight or token in renderer.stop_ids):
            runs.append(run)
            run = ()
    return runs


def cloned(trajectory: Trajectory, *, renderer: Renderer) -> TrainingSample:
    sample = renderer.policy_sample(
        Credit(trajectory=trajectory, ce=(1.0,) * len(trajectory.turns))
    )
    assert sample is not None
    return sample


def modelled(trajectory: Trajectory, *, renderer: Renderer, hidden: bool = True) -> TrainingSample:
    sample = renderer.model_sample(trajectory, use_hidden_state=hidden)
    assert sample is not None
    return sample
