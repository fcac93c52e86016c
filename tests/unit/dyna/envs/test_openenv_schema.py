"""Which field of another server's messages means what; and what is said without the extra."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dyna.envs.openenv.schema import OURS, Fields, Schema, choose_fields, in_words, pick

ROOT = Path(__file__).resolve().parents[4]
MESSAGE = {"text": "A room.", "log": [{"said": "one"}, {"said": "two"}], "n": 3, "none": None}
NOTHING = Fields(action="", observation=())


def schema(action: dict[str, Any], observation: dict[str, Any], **extension: Any) -> Schema:
    return Schema(action=action, required=(), observation=observation, extension=extension)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("text", "A room."), ("log.0.said", "one"), ("log.-1.said", "two"), ("log.7.said", None),
        ("log.x", None), ("text.more", None), ("absent", None), ("none", None), ("n", 3),
    ],
)  # fmt: skip
def test_a_path_leads_into_a_message(path: str, value: object) -> None:
    assert pick(MESSAGE, path) == value


def test_one_field_is_told_as_it_is_and_several_under_their_names() -> None:
    assert in_words(MESSAGE, fields=["text"]) == "A room."
    assert in_words(MESSAGE, fields=["none"]) == ""
    assert in_words(MESSAGE, fields=["text", "none", "log"]) == (
        'text: A room.\nlog: [{"said": "one"}, {"said": "two"}]'
    )


def test_the_only_text_field_is_meant() -> None:
    text, number = {"type": "string"}, {"type": "integer"}
    optional = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    meta = {"metadata": {"type": "object"}, "done": {"type": "boolean"}}
    found = choose_fields(
        schema({"say": text, "n": number, **meta}, {"seen": optional, "n": number, **meta}),
        given=NOTHING,
        needs_action=True,
    )
    assert (found.action, found.observation) == ("say", ("seen",))
    with pytest.raises(ValueError, match=r"action has no text field.* set `action_field`"):
        choose_fields(schema({"n": number}, {"seen": text}), given=NOTHING, needs_action=True)
    with pytest.raises(ValueError, match=r"observation has 2 text fields.* one of a, b"):
        choose_fields(schema({}, {"a": text, "b": text}), given=NOTHING, needs_action=False)


def test_a_server_of_ours_says_it_all() -> None:
    assert choose_fields(schema({}, {}, world="x"), given=NOTHING, needs_action=True) is OURS


def test_without_the_extra_the_command_that_installs_it_is_said(tmp_path: Path) -> None:
    """Importing is free; making a world or a server names the version that is there instead."""
    unfit = tmp_path / "openenv_core-9.9.dist-info"
    unfit.mkdir()
    (unfit / "METADATA").write_text("Metadata-Version: 2.1\nName: openenv-core\nVersion: 9.9\n")
    code = (
        "import sys\n"
        "from dyna.envs.corridor import CorridorWorld\n"
        "from dyna.envs.openenv import OpenEnvWorld, Serving, make_app\n"
        "for make in (lambda: OpenEnvWorld(url='http://127.0.0.1:1'),\n"
        "             lambda: make_app(Serving(CorridorWorld()))):\n"
        "    try:\n"
        "        make()\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
        "assert 'openenv' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = (
        "the world `openenv` cannot be made: `openenv-core` is 9.9, >=0.2.1,<0.4 is needed; "
        'run: pip install "dyna-agents[openenv]"\n'
    )
    assert done.stdout == said * 2
