"""Transcripts to tokens: two views that complete each other, and sampled tokens that stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dyna.grammar import write_answer
from dyna.rendering import ContextOverflow, Renderer
from dyna.testing import byte_tokenizer
from dyna.tokenizer import train_tokenizer
from dyna.types import (
    Action,
    Credit,
    Outcome,
    Start,
    StopReason,
    Trajectory,
    Turn,
)
from tests.unit.dyna.rendering_parts import (
    FORGETFUL,
    TASK,
    THINKING,
    cloned,
    every_renderer,
    few,
    modelled,
    renderer,
    spelled,
    trained_runs,
    trajectories,
    with_template,
)


@every_renderer
@few
@given(trajectory=trajectories)
def test_each_view_trains_what_the_other_only_reads(name: str, trajectory: Trajectory) -> None:
    r = renderer(name)
    agent, model = cloned(trajectory, renderer=r), modelled(trajectory, renderer=r)
    said = [turn.action.said for turn in trajectory.turns]
    answered = [write_answer(turn.outcome) for turn in trajectory.turns]
    assert [r.decode(run) for run in trained_runs(agent, renderer=r)] == said
    assert [r.decode(run) for run in trained_runs(model, renderer=r)] == answered
    assert trained_runs(agent, renderer=r) == [r.encode_action(text) for text in said]
    assert trained_runs(model, renderer=r) == [
        r.encode_answer(turn.outcome) for turn in trajectory.turns
    ]


@every_renderer
@few
@given(trajectory=trajectories)
def test_both_views_spell_the_whole_transcript_in_order(name: str, trajectory: Trajectory) -> None:
    r = renderer(name)
    start = trajectory.start
    spoken = [start.observation]
    modeled = [f"{start.hidden_state}\n{start.observation}" if start.hidden_state else spoken[0]]
    for turn in trajectory.turns:
        spoken += [turn.action.said, turn.outcome.observation]
        modeled += [turn.action.command, write_answer(turn.outcome)]
    for sample, messages in (
        (cloned(trajectory, renderer=r), spoken),
        (modelled(trajectory, renderer=r), modeled),
    ):
        text, place = spelled(r, sample.token_ids), 0
        for message in messages:
            found = text.find(message, place)
            assert found >= 0
            place = found + len(message)


@every_renderer
@few
@given(trajectory=trajectories, data=st.data())
def test_no_token_is_trained_twice_or_unasked(
    name: str, trajectory: Trajectory, data: st.DataObject
) -> None:
    """Each turn trained alone gives masks that are disjoint and add up to the whole."""
    r, num = renderer(name), len(trajectory.turns)
    whole = cloned(trajectory, renderer=r)
    alone = [
        r.policy_sample(Credit(trajectory=trajectory, ce=tuple(float(i == k) for i in range(num))))
        for k in range(num)
    ]
    masks = [sample.ce for sample in alone if sample is not None]
    assert len(masks) == num
    assert tuple(map(sum, zip(*masks, strict=True))) == whole.ce
    first = data.draw(st.integers(0, num))
    late = r.model_sample(trajectory, use_hidden_state=True, first_turn=first)
    full = modelled(trajectory, renderer=r)
    assert late is not None and late.token_ids == full.token_ids
    assert trained_runs(full, renderer=r)[first:] == (
        trained_runs(late, renderer=r) if late.ce else []
    )


@every_renderer
@few
@given(trajectory=trajectories, hidden=st.booleans())
def test_a_longer_transcript_begins_with_the_shorter_one(
    name: str, trajectory: Trajectory, hidden: bool
) -> None:
    """So an engine reads every token once, and trains on the prompt it sampled from."""
    r = renderer(name)
    policy, model = cloned(trajectory, renderer=r), modelled(trajectory, renderer=r, hidden=hidden)
    for index, turn in enumerate(trajectory.turns):
        view = trajectory.context(index)
        prompt = r.action_prompt(view)
        assert policy.token_ids[: len(prompt)] == prompt
        after = policy.token_ids[len(prompt) :]
        assert after[: len(r.encode_action(turn.action.said))] == r.encode_action(turn.action.said)
        asked = r.answer_prompt(view, turn.action, use_hidden_state=hidden)
        assert model.token_ids[: len(asked)] == asked
        answer = r.encode_answer(turn.outcome)
        assert model.token_ids[len(asked) : len(asked) + len(answer)] == answer


@every_renderer
@pytest.mark.parametrize("system_prompt", ["", "You tidy up."])
@few
@given(trajectory=trajectories)
def test_prompts_are_what_the_chat_template_says(
    name: str, system_prompt: str, trajectory: Trajectory
) -> None:
    r = renderer(name, system_prompt=system_prompt)
    if name == "llama":  # its template trims messages; a transcript keeps what was said
        trajectory = trimmed(trajectory)
    start = trajectory.start.observation
    agent = [{"role": "system", "content": system_prompt}] if system_prompt else []
    agent.append({"role": "user", "content": start})
    model = [{"role": "system", "content": start}]
    for turn in trajectory.turns:
        agent.append({"role": "assistant", "content": turn.action.said})
        agent.append({"role": "user", "content": turn.outcome.observation})
        model.append({"role": "user", "content": turn.action.command})
        model.append({"role": "assistant", "content": write_answer(turn.outcome)})
    # Said aloud, a special token is text to us and a command to a template: see the test below.
    special = [str(token) for token in r.tokenizer.added_tokens_decoder.values()]
    assume(not any(token in message["content"] for message in agent + model for token in special))
    last = trajectory.turns[-1]
    whole, before = trajectory.context(len(trajectory.turns)), len(trajectory.turns) - 1
    asked = r.answer_prompt(trajectory.context(before), last.action, use_hidden_state=False)
    assert r.action_prompt(whole) == templated(r, agent)
    assert asked == templated(r, model[:-1])


def trimmed(trajectory: Trajectory) -> Trajectory:
    return replace(
        trajectory,
        start=Start(observation=trajectory.start.observation.strip()),
        turns=tuple(
            Turn(
                action=Action(command=turn.action.said.strip() or "look"),
                outcome=replace(turn.outcome, observation=f"{turn.outcome.observation}.".strip()),
            )
            for turn in trajectory.turns
        ),
    )


def templated(renderer: Renderer, messages: list[dict[str, str]]) -> tuple[int, ...]:
    text = renderer.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    return tuple(renderer.tokenizer.encode(str(text), add_special_tokens=False))


def test_sampled_tokens_are_kept_even_where_encoding_would_give_others() -> None:
    r = renderer("trained")
    odd = tuple(i for letter in "mug 1" for i in r.tokenizer.encode(letter)) + r.stop_ids[:1]
    assert r.decode(odd) == "mug 1" and odd != r.encode_action("mug 1")
    log_probs = tuple(-0.1 * k for k in range(len(odd)))
    turn = Turn(
        action=Action(command="mug 1", token_ids=odd, log_probs=log_probs),
        outcome=Outcome(observation="You see a mug 1.", token_ids=odd),
    )
    trajectory = Trajectory(
        id="e",
        task=TASK,
        start=Start(observation="?"),
        turns=(turn, turn),
        stop=StopReason.STEP_LIMIT,
    )
    sample = r.policy_sample(Credit(trajectory=trajectory, rl=(0.5, -2.0)))
    assert sample is not None
    acted = [i for i, flag in enumerate(sample.rl_mask) if flag]
    assert tuple(sample.token_ids[i] for i in acted) == odd * 2
    assert tuple(sample.old_log_probs[i] for i in acted) == log_probs * 2
    assert [sample.rl[i] for i in acted] == [0.5] * len(odd) + [-2.0] * len(odd)
    assert not any(sample.rl[i] for i in range(len(sample.rl)) if i not in acted)
    prompt = r.action_prompt(trajectory.context(2))
    assert sample.token_ids == prompt  # the last action is followed by the next one's place
    # In a dream the model goes on from what it wrote itself.
    asked = r.answer_prompt(trajectory.context(1), turn.action, use_hidden_state=False)
    assert contains(asked, odd)


def contains(tokens: tuple[int, ...], part: tuple[int, ...]) -> bool:
    starts = range(len(tokens) - len(part) + 1)
    return any(tokens[i : i + len(part)] == part for i in starts)


def test_an_action_cut_before_its_stop_token_is_closed_for_the_next_speaker() -> None:
    """The closing token was not sampled, so it is read and never trained."""
    r = renderer("bytes")
    cut = r.encode("go to sh")
    turn = Turn(
        action=Action(command="go to sh", token_ids=cut, log_probs=(-1.0,) * len(cut)),
        outcome=Outcome(observation="Nothing happens."),
    )
    trajectory = Trajectory(
        id="e", task=TASK, start=Start(observation="?"), turns=(turn,), stop=StopReason.STEP_LIMIT
    )
    sample = r.policy_sample(Credit(trajectory=trajectory, rl=(1.0,)))
    assert sample is not None and sum(sample.rl_mask) == len(cut)
    assert spelled(r, sample.token_ids).count("go to sh<|im_end|>\n") == 1
    finished = replace(turn, action=replace(turn.action, token_ids=(*cut, r.stop_ids[0])))
    assert r.action_prompt(replace(trajectory, turns=(finished,)).context(1)) == (
        r.action_prompt(trajectory.context(1))
    )


def test_a_dreams_real_prefix_carries_no_advantage() -> None:
    r = renderer("bytes")
    real = Turn(action=Action(command="a"), outcome=Outcome(observation="b"))
    sampled = Action(command="c", token_ids=r.encode_action("c"), log_probs=(-0.5, -0.5))
    trajectory = Trajectory(
        id="e",
        task=TASK,
        start=Start(observation="?"),
        turns=(real, replace(real, action=sampled)),
        stop=StopReason.HORIZON,
        branch_point=1,
    )
    sample = r.policy_sample(Credit(trajectory=trajectory, rl=(9.0, 0.0)))
    assert sample is not None
    assert sum(sample.rl_mask) == 2 and not any(sample.rl)  # an advantage of zero still counts
    with pytest.raises(ValueError, match="only actions that an engine sampled"):
        r.policy_sample(Credit(trajectory=replace(trajectory, branch_point=0), rl=(9.0, 0.0)))


@few
@given(trajectory=trajectories)
def test_what_does_not_fit_is_refused(trajectory: Trajectory) -> None:
    """A prompt must leave room for one token; a sample may fill the window to its last."""
    wide = renderer("bytes")
    whole = trajectory.context(len(trajectory.turns))
    prompt = wide.action_prompt(whole)
    exact = Renderer(wide.tokenizer, max_context=len(prompt))
    with pytest.raises(ContextOverflow, match=f"{len(prompt)} tokens leaves no room in max_cont"):
        exact.action_prompt(whole)
    assert Renderer(wide.tokenizer, max_context=len(prompt) + 1).action_prompt(whole) == prompt
    credit = Credit(trajectory=trajectory, ce=(1.0,) * len(trajectory.turns))
    sample = modelled(trajectory, renderer=wide)
    assert exact.policy_sample(credit) is not None
    tight = Renderer(wide.tokenizer, max_context=len(sample.token_ids) - 1)
    assert tight.model_sample(trajectory, use_hidden_state=True) is None
    tight.max_context = len(prompt) - 1
    assert tight.policy_sample(credit) is None
    last = trajectory.turns[-1].action
    tight.max_context = len(wide.answer_prompt(whole, last, use_hidden_state=True))
    with pytest.raises(ContextOverflow):
        tight.answer_prompt(whole, last, use_hidden_state=True)


def test_hidden_state_reaches_the_model_alone_and_only_if_asked_for() -> None:
    r = renderer("bytes")
    trajectory = Trajectory(
        id="e",
        task=TASK,
        start=Start(observation="A room.", hidden_state="The key is in the vase."),
        turns=(Turn(action=Action(command="look"), outcome=Outcome(observation="A vase.")),),
        stop=StopReason.STEP_LIMIT,
    )
    told, untold = (modelled(trajectory, renderer=r, hidden=hidden) for hidden in (True, False))
    assert "The key is in the vase.\nA room." in spelled(r, told.token_ids)
    for sample in (untold, cloned(trajectory, renderer=r)):
        assert "key" not in spelled(r, sample.token_ids)


def test_thoughts_stay_with_the_agent() -> None:
    r = renderer("bytes")
    action = Action(command="look", text="Thought: where is it?\nAction: look")
    trajectory = Trajectory(
        id="e",
        task=TASK,
        start=Start(observation="A room."),
        turns=(Turn(action=action, outcome=Outcome(observation="A vase.")),),
        stop=StopReason.STEP_LIMIT,
    )
    assert action.text in spelled(r, cloned(trajectory, renderer=r).token_ids)
    assert "Thought" not in spelled(r, modelled(trajectory, renderer=r).token_ids)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template; set tokenizer.chat_template, or use the instruct version"),
        (THINKING, "renders the same message differently by its place; a transcript must not"),
        (FORGETFUL, "hides messages"),
        ("{{ messages[0]['content'] }}", "hides messages"),
    ],
)
def test_a_template_that_cannot_keep_a_transcript_is_refused(
    template: str | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Renderer(with_template(template), max_context=100)


def test_nobody_can_end_a_turn_by_what_they_say() -> None:
    for tokenizer in (byte_tokenizer(), train_tokenizer(["You see a mug 1."] * 3)):
        renderer = Renderer(tokenizer, max_context=256)
        stop = tokenizer.convert_ids_to_tokens(renderer.stop_ids[0])
        said = f"look{stop}and so on"
        ids = renderer.encode(said)
        assert not set(ids) & set(renderer.stop_ids)
        assert renderer.decode(ids) == said


def test_half_a_surrogate_pair_is_text_like_any_other() -> None:
    renderer = Renderer(byte_tokenizer(), max_context=256)
    assert renderer.decode(renderer.encode("a \ud800 b")) == "a ? b"
