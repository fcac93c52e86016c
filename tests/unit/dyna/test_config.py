"""Configurations: every field survives the file, every mistake is named before anything starts."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dyna.config import GateConfig, Isolation, PluginConfig, RunConfig
from dyna.configuring import ConfigError, describe, dump, field_docs, field_types, load, save
from dyna.validation import RANGES, Range, problems

PARAMS = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=5),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


def numbers_in(bounds: Range, *, kind: type) -> st.SearchStrategy[Any]:
    high = min(bounds.high, 1e6)
    if kind is int:
        return st.integers(int(bounds.low), int(high))
    return st.floats(
        bounds.low, high, exclude_min=bounds.open_low, exclude_max=bounds.open_high
    ) | st.floats(1e-9, 0.5)


@st.composite
def sections(draw: st.DrawFn, section: Any, *, path: str = "") -> Any:
    """A section with every number drawn from its range, every enum and params at random."""
    changes: dict[str, Any] = {}
    for entry in fields(section):
        name, value = f"{path}{entry.name}", getattr(section, entry.name)
        if is_dataclass(value):
            changes[entry.name] = draw(sections(value, path=f"{name}."))
        elif isinstance(value, Enum):
            changes[entry.name] = draw(st.sampled_from(list(type(value))))
        elif isinstance(value, bool):
            changes[entry.name] = draw(st.booleans())
        elif name in RANGES:
            changes[entry.name] = draw(numbers_in(RANGES[name], kind=type(value)))
        elif entry.name == "params":
            changes[entry.name] = draw(PARAMS)
        elif entry.name == "split":
            changes[entry.name] = draw(st.text(max_size=9))
    return replace(section, **changes)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=sections(RunConfig()))
def test_what_is_dumped_loads_back_exactly(
    config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    for write in (dump, describe):
        path.write_text(write(config), encoding="utf-8")
        if not problems(config):
            assert load(path) == config


@pytest.mark.parametrize(
    "text",
    ["${nope}", "a ${b.c} d", "\\${x}", "\\\\${x}", "1e-3", "yes", "null", "", " ", "a: b", "# c",
     "~", "0x10", "1_000", "\n", "tab\there", "ends\\", "'", '"', "=", "- x",
     "2001-01-01", "\x85", "\u2028"],
)  # fmt: skip
def test_awkward_text_loads_back_as_the_same_text(text: str, tmp_path: Path) -> None:
    world = replace(RunConfig().world, params={"value": text, "inside": [{"deep": text}]})
    config = replace(RunConfig(), world=world)
    save(config, path=tmp_path / "config.yaml")
    assert load(tmp_path / "config.yaml") == config


def test_nothing_given_is_the_defaults() -> None:
    assert load() == RunConfig()


def test_overrides_come_after_the_file_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rounds: 9\nworld:\n  isolation: thread\n  params: {size: small, seed: 4}\n")
    config = load(path, overrides=["world.params.size=large", "seed=1", "seed=2"])
    assert (config.rounds, config.seed) == (9, 2)
    assert config.world.isolation is Isolation.THREAD
    assert config.world.params == {"size": "large", "seed": 4}


def test_override_values_are_read_as_yaml() -> None:
    config = load(
        overrides=[
            "policy_learner.optimizer.learning_rate=3e-4",
            "tracking.tensorboard=true",
            "policy_learner.algorithm={name: ppo_clip, params: {epochs: [1, 2]}}",
            "world_model.model.path=org/model=v2",
        ]
    )
    assert config.policy_learner.optimizer.learning_rate == 3e-4
    assert config.tracking.tensorboard is True
    assert config.policy_learner.algorithm == PluginConfig(
        name="ppo_clip", params={"epochs": [1, 2]}
    )
    assert config.world_model.model.path == "org/model=v2"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rouns=3", "unknown key `rouns`; did you mean `rounds`?"),
        ("horizon=3", "did you mean `imagination.horizon`?"),
        ("imagination.horizn=3", "unknown key `imagination.horizn`; did you mean `imagination.hor"),
        ("world_model.gate.margin=1", "did you mean `world_model_learner.gate`?"),
        ("rounds.x=3", "`rounds`"),
        ("zzz=1", "unknown key `zzz`; valid here: name, seed"),
        ("rounds=x", "`rounds` must be a whole number, got 'x'"),
        ("rounds=2.5", "`rounds` must be a whole number, got 2.5"),
        ("rounds=true", "`rounds` must be a whole number, got True"),
        ("rounds=null", "`rounds` must be a whole number, got None"),
        ("tracking.tensorboard=maybe", "`tracking.tensorboard` must be true or false, got 'maybe'"),
        ("name=[1]", "`name` must be text, got [1]"),
        ("world.params=3", "`world.params`"),
        ("world=household", "`world` is a section of keys, got 'household'; did you mean `world."),
        ("world.isolation=tread", "inline, thread, process; got 'tread'; did you mean `thread`"),
        ("world.isolation=INLINE", "must be one of inline, thread, process; got 'INLINE'"),
        ("imagination.horizon=0", "imagination.horizon must be >= 1, got 0"),
        ("world_model_learner.replay_ratio=1", "must be in [0, 1), got 1"),
        ("policy.temperature=0", "policy.temperature must be > 0, got 0"),
        ("policy.temperature=.nan", "policy.temperature must be > 0, got nan"),
        ("policy.model.dtype=int8", "policy.model.dtype must be float32 or bfloat16, got 'int8'"),
        ("policy.max_new_tokens=640", "must be less than policy.model.max_context (640)"),
        ("imagination.group_size=600", "must hold one whole group of 600, got 512"),
        ("name=a/b", "name must be usable as the name of a folder, got 'a/b'"),
        ("rounds", "an override must read key=value, got 'rounds'"),
        ("=3", "an override must read key=value"),
        ("world..name=3", "an override must read key=value"),
        ("rounds=[1", "the value in 'rounds=[1' cannot be read"),
        ("name=${nothing.here}", "nothing.here"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides=[override])
    assert message in str(caught.value)


def test_all_values_out_of_range_are_named_together() -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides=["real.group_size=0", "imagination.horizon=-1"])
    assert str(caught.value).splitlines() == [
        "real.group_size must be >= 1, got 0",
        "imagination.horizon must be >= 1, got -1",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("rounds", "must hold `key: value` lines, got 'rounds'"),
        ("- a\n- b\n", "must hold `key: value` lines"),
        ("rounds: 3\nworld:\n  params: {size: sm", "line 3: not valid YAML"),
        ("rounds: 3\nrounds: 4\n", "line 2: not valid YAML"),
        ("rounds: 3\nworld:\n  ma", "`world` is a section of keys, got 'ma'"),
        ("rounds: 3\nwrld: {}\n", "unknown key `wrld`; did you mean `world`?"),
        ("rounds: '\x00'\n", "not valid YAML"),
        ("? [1, 2]\n: 3\n", "a.yaml"),
        ("1: 3\n", "unknown key `1`"),
    ],
)
def test_a_wrong_file_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the config .*gone\.yaml"):
        load(tmp_path / "gone.yaml")
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path / "latin.yaml")


def test_a_list_of_sections_is_checked_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "stream.yaml"
    path.write_text("stream: {experiences: [{name: a, real: {explorations: 3}}, {name: b}]}")
    loaded = load(path)
    assert [experience.name for experience in loaded.stream.experiences] == ["a", "b"]
    assert loaded.stream.experiences[0].real.explorations == 3
    path.write_text(dump(loaded))
    assert load(path) == loaded
    for text, told in (
        ("[{nam: a}]", r"unknown key `stream.experiences\[0\].nam`; did you mean"),
        ("[3]", "`stream.experiences` is a list of sections of keys, got"),
        ("{name: a}", "`stream.experiences` is a list of sections of keys, got"),
    ):
        with pytest.raises(ConfigError, match=told):
            load(overrides=[f"stream.experiences={text}"])


def test_every_number_has_a_range() -> None:
    numeric = {name for name, kind in field_types().items() if kind in (int, float)}
    assert numeric == set(RANGES)


def test_the_defaults_are_within_their_ranges() -> None:
    assert problems(RunConfig()) == []


def test_describe_explains_fields_in_their_own_words() -> None:
    lines = describe(RunConfig()).splitlines()
    assert "# Turns of the Dyna loop." in lines[lines.index("rounds: 6") - 1]
    assert "  # Imagined turns after which a dream is cut." in lines
    assert (
        field_docs(GateConfig.__module__)["GateConfig", ""]
        == "May a freshly trained world model go live?"
    )


def test_a_saved_config_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "run" / "config.yaml"
    save(RunConfig(), path=path)
    save(replace(RunConfig(), seed=5), path=path)
    assert load(path).seed == 5
    assert [entry.name for entry in path.parent.iterdir()] == ["config.yaml"]
