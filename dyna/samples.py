"""The smallest real parts that tests are made of: episodes, a tokenizer, a language model.

Nothing here pretends: the episodes were played, the tokenizer loses nothing, the model computes.
Torch is loaded only by the functions that need it. Import them from `dyna.testing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dyna.envs.corridor import CorridorWorld
from dyna.protocols import Env
from dyna.types import Action, StopReason, Task, Trajectory, TrajectoryGroup, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def sample_trajectories() -> list[Trajectory]:
    """Three real episodes of a corridor, one of them won, with sampled tokens in every action."""
    world = CorridorWorld(num_doors=2, max_turns=4)
    won = world.way
    walks = [won, (won[0], "xyzzy", "go left", "go right"), ("look", *won)]
    tasks = world.tasks(split="train", num=len(walks))
    return [
        asyncio.run(_replayed(world.make(), task=task, walk=walk))
        for task, walk in zip(tasks, walks, strict=True)
    ]


async def _replayed(env: Env, *, task: Task, walk: Sequence[str]) -> Trajectory:
    start = await env.reset(task)
    turns: list[Turn] = []
    for command in walk:
        action = Action(command=command, token_ids=(5, 6, 7), log_probs=(-0.5, -0.25, -0.125))
        turns.append(Turn(action=action, outcome=await env.step(action)))
        if turns[-1].outcome.stop is not None:
            break
    return Trajectory(
        id=f"sample/{task.id}",
        task=task,
        start=start,
        turns=tuple(turns),
        stop=turns[-1].outcome.stop or StopReason.STEP_LIMIT,
    )


def sample_groups() -> list[TrajectoryGroup]:
    """One group that won and lost, one that only lost, and one of a single episode."""
    won, lost, also_won = sample_trajectories()
    mixed = [replace(t, id=f"{t.id}/mixed", task=won.task, group_id="a") for t in (won, lost)]
    losing = [replace(lost, id=f"{lost.id}/{i}", group_id="b") for i in range(2)]
    return [
        TrajectoryGroup(task=won.task, trajectories=tuple(mixed)),
        TrajectoryGroup(task=lost.task, trajectories=tuple(losing)),
        TrajectoryGroup(task=also_won.task, trajectories=(also_won,)),
    ]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte of UTF-8, with a ChatML template; lossless, 260 tokens, no files.

    `<|im_end|>` is the end-of-sequence token, `<|pad|>` pads; a newline follows every message.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<|pad|>", "<|unk|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate(specials + letters)}
    core: Any = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in specials]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        unk_token="<|unk|>",
        eos_token="<|im_end|>",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def tiny_model(
    vocab_size: int,
    *,
    seed: int = 0,
    hidden_size: int = 64,
    num_layers: int = 2,
    initializer_range: float = 0.02,
    max_context: int = 4096,
    pad_token_id: int | None = 0,
    eos_token_id: int | None = None,
) -> PreTrainedModel:
    """A random Qwen2 causal LM of some 100k parameters (2 heads of size 32), in `eval` mode.

    Equal arguments give equal weights, whatever the global random state, which is left as it was.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    if hidden_size % 32:
        raise ValueError(f"hidden_size must be a multiple of the head size 32, got {hidden_size}")
    config = Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 32,
        num_key_value_heads=hidden_size // 32,
        max_position_embeddings=max_context,
        initializer_range=initializer_range,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
        torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
        model = Qwen2ForCausalLM(config)
    return model.eval()
