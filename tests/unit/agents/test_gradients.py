"""Each algorithm, from episodes to gradients, against a loop written from its paper."""

from __future__ import annotations

import random
import statistics

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agents.algorithms.filtered_bc import FilteredBC
from agents.algorithms.grpo import GRPO
from agents.algorithms.ppo_clip import PPOClip
from agents.algorithms.reinforce import Reinforce
from dyna.config import OptimizerConfig
from dyna.rendering import Renderer
from dyna.testing import byte_tokenizer, tiny_model
from dyna.training.trainer import TokenTrainer
from dyna.types import Action, Outcome, Start, StopReason, Task, Trajectory, TrajectoryGroup, Turn

TASK = Task(id="t/0", world="t", family="t", split="train")
STOP = 3
"""`<|im_end|>` of the byte tokenizer."""


def random_groups(rng: random.Random) -> list[TrajectoryGroup]:
    groups = []
    for g in range(2):
        trajectories = []
        for m in range(3):
            turns = []
            for _ in range(rng.randint(1, 3)):
                ids = (*(rng.randrange(4, 260) for _ in range(rng.randint(1, 4))), STOP)
                log_probs = tuple(rng.uniform(-5.8, -5.2) for _ in ids)
                action = Action(command="go", token_ids=ids, log_probs=log_probs)
                turns.append(Turn(action=action, outcome=Outcome(observation="seen")))
            won = m == 0 or rng.random() < 0.3
            if won:
                end = Outcome(observation="won", reward=1.0, terminated=True, success=True)
                turns[-1] = Turn(action=turns[-1].action, outcome=end)
            stop = StopReason.TERMINATED if won else StopReason.STEP_LIMIT
            trajectories.append(
                Trajectory(
                    id=f"{g}/{m}",
                    task=TASK,
                    start=Start(observation=f"house {g}"),
                    turns=tuple(turns),
                    stop=stop,
                )
            )
        groups.append(TrajectoryGroup(task=TASK, trajectories=tuple(trajectories)))
    return groups


def spoken_tokens(
    model: PreTrainedModel, *, tokenizer: PreTrainedTokenizerBase, trajectory: Trajectory
) -> list[list[tuple[torch.Tensor, float]]]:
    """Per turn, per token of its action: log-prob now and at sampling time. ChatML by hand."""
    ids = tokenizer.encode(
        f"<|im_start|>user\n{trajectory.start.observation}<|im_end|>\n<|im_start|>assistant\n"
    )
    spans = []
    for turn in trajectory.turns:
        spans.append(len(ids))
        ids = ids + list(turn.action.token_ids)
        seen = turn.outcome.observation
        ids = ids + tokenizer.encode(
            f"\n<|im_start|>user\n{seen}<|im_end|>\n<|im_start|>assistant\n"
        )
    log_probs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], dim=-1)
    return [
        [
            (log_probs[begin + k - 1, token], old)
            for k, (token, old) in enumerate(
                zip(turn.action.token_ids, turn.action.log_probs, strict=True)
            )
        ]
        for begin, turn in zip(spans, trajectory.turns, strict=True)
    ]


def naive_advantages(name: str, *, group: TrajectoryGroup) -> list[float]:
    returns = [1.0 if t.success else 0.0 for t in group.trajectories]
    if name == "reinforce":
        return [
            value - statistics.mean(returns[:i] + returns[i + 1 :])
            for i, value in enumerate(returns)
        ]
    mean = statistics.mean(returns)
    deviation = statistics.pstdev(returns)
    divisor = deviation if name == "grpo" else 1.0
    return [(value - mean) / divisor for value in returns]


def naive_gradient(
    model: PreTrainedModel,
    *,
    name: str,
    groups: list[TrajectoryGroup],
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, torch.Tensor]:
    terms = []
    for group in groups:
        returns = {t.success for t in group.trajectories}
        for index, trajectory in enumerate(group.trajectories):
            turns = spoken_tokens(model, tokenizer=tokenizer, trajectory=trajectory)
            tokens = [pair for turn in turns for pair in turn]
            if name == "filtered_bc":
                terms += [-log_prob for log_prob, _ in tokens] if trajectory.success else []
                continue
            if len(returns) == 1 and name != "ppo_clip":
                continue
            advantage = naive_advantages(name, group=group)[index]
            for log_prob, old in tokens:
                ratio = torch.exp(log_prob - old)
                if advantage > 0:
                    terms.append(-advantage * torch.minimum(ratio, torch.tensor(1.2)))
                else:
                    terms.append(-advantage * torch.maximum(ratio, torch.tensor(0.8)))
    torch.stack(terms).mean().backward()
    return take_gradient(model)


def take_gradient(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    taken = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return taken


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("filtered_bc", FilteredBC()),
        ("reinforce", Reinforce()),
        ("grpo", GRPO()),
        ("ppo_clip", PPOClip(normalize=False)),
    ],
)
def test_gradients_equal_those_of_a_naive_loop(
    name: str, algorithm: FilteredBC | Reinforce | GRPO | PPOClip
) -> None:
    tokenizer = byte_tokenizer()
    model = tiny_model(len(tokenizer))
    groups = random_groups(random.Random(3))
    assert len({t.success for t in groups[0].trajectories}) == 2
    expected = naive_gradient(model, name=name, groups=groups, tokenizer=tokenizer)

    renderer = Renderer(tokenizer, max_context=512)
    samples = [renderer.policy_sample(credit) for credit in algorithm(groups)]
    trainer = TokenTrainer(model, optimizer=OptimizerConfig(), clip_low=0.2, clip_high=0.2)
    metrics = trainer.forward_backward([sample for sample in samples if sample is not None])
    assert metrics["trained_tokens"] > 0

    gradient = take_gradient(model)
    assert gradient.keys() == expected.keys()
    assert max(float(g.abs().max()) for g in gradient.values()) > 1e-3
    for key, tensor in gradient.items():
        torch.testing.assert_close(tensor, expected[key], atol=1e-5, rtol=1e-4, msg=key)
