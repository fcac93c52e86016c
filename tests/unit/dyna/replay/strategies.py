"""Trajectories for property tests: any value of any field that types.py allows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from dyna.types import Action, Outcome, Source, Start, StopReason, Task, Trajectory, Turn

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
integers = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
commands = st.none() | st.lists(texts, max_size=4).map(tuple)
tasks = st.builds(
    Task,
    id=texts,
    world=texts,
    family=texts,
    split=texts,
    seed=integers,
    params=st.dictionaries(texts, json_values, max_size=3),
)
starts = st.builds(Start, observation=texts, hidden_state=st.none() | texts, admissible=commands)
token_ids = st.lists(integers, max_size=4).map(tuple)
actions = st.builds(
    Action,
    command=texts,
    text=texts,
    token_ids=token_ids,
    log_probs=st.lists(numbers, max_size=4).map(tuple),
    policy_version=integers,
)
outcomes = st.builds(
    Outcome,
    observation=texts,
    reward=numbers,
    terminated=st.booleans(),
    success=st.booleans(),
    stop=st.none() | st.sampled_from(StopReason),
    valid=st.none() | st.booleans(),
    admissible=commands,
    confidence=numbers,
    token_ids=token_ids,
)
turns = st.builds(Turn, action=actions, outcome=outcomes)


def trajectories(
    *,
    sources: st.SearchStrategy[Source] | None = None,
    stops: st.SearchStrategy[StopReason] | None = None,
    min_turns: int = 0,
) -> st.SearchStrategy[Trajectory]:
    return st.builds(
        Trajectory,
        id=texts,
        task=tasks,
        start=starts,
        turns=st.lists(turns, min_size=min_turns, max_size=4).map(tuple),
        stop=st.sampled_from(StopReason) if stops is None else stops,
        source=st.sampled_from(Source) if sources is None else sources,
        branch_point=integers,
        policy_version=integers,
        model_version=st.none() | integers,
        round=integers,
        group_id=texts,
        behavior=texts,
        error=texts,
    )


def episode(
    name: str,
    *,
    num_turns: int = 3,
    family: str = "pick",
    source: Source = Source.REAL,
    stop: StopReason = StopReason.TERMINATED,
) -> Trajectory:
    """One plain episode."""
    turn = Turn(
        action=Action(command="look", token_ids=(1, 2), log_probs=(-0.5, -0.25)),
        outcome=Outcome(observation=f"{name}: you see nothing.", admissible=("look", "go")),
    )
    return Trajectory(
        id=name,
        task=Task(id=f"task/{name}", world="house", family=family, split="train"),
        start=Start(observation="A room."),
        turns=(turn,) * num_turns,
        stop=stop,
        source=source,
    )
