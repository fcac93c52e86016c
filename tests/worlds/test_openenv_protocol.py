"""Our OpenEnv server message by message, as a client that is not ours would write them."""
# Its libraries come with an extra.
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("openenv", reason="the openenv extra is not installed")

from dyna.envs.corridor import CorridorWorld
from dyna.envs.household import HouseholdWorld
from dyna.envs.imagined import ImaginedWorld
from dyna.envs.openenv import Serving, make_app
from dyna.protocols import Env, World
from dyna.types import Action, Outcome, Start, Task
from tests.unit.dyna.envs.test_imagined import learned

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient


@contextmanager
def talking_to(world: World, **options: Any) -> Iterator[Any]:
    """A function that sends one message to a session and gives the answer."""
    with (
        TestClient(make_app(Serving(world, **options))) as client,
        client.websocket_connect("/ws") as session,
    ):

        def say(kind: str, **data: Any) -> dict[str, Any]:
            session.send_json({"type": kind, "data": data} if kind != "state" else {"type": kind})
            return session.receive_json()

        say.raw = session.send_text  # type: ignore[attr-defined]
        say.receive = session.receive_json  # type: ignore[attr-defined]
        yield say


def test_an_episode_message_by_message() -> None:
    world = CorridorWorld(num_doors=2, seed=1)
    with talking_to(world, num_tasks=10, hidden_state=True) as say:
        reset = say("reset", seed=3)
        assert reset["type"] == "observation" and reset["data"]["done"] is False
        seen = reset["data"]["observation"]
        assert seen["text"].startswith("You are in room 1.")
        assert seen["admissible"] == ["go left", "go right"]
        assert (seen["task_id"], seen["source"]) == ("corridor/train/3", "real")
        assert seen["hidden_state"].startswith("The doors that lead on are")
        say("step", command=world.way[0])
        last = say("step", command=world.way[1])["data"]
        assert (last["reward"], last["done"]) == (1.0, True)
        seen = last["observation"]
        assert (seen["success"], seen["terminated"], seen["stop"]) == (True, True, "terminated")
        assert say("state")["data"] == {"episode_id": "corridor/train/3", "step_count": 2}
        over = say("step", command="go left")
        assert over["type"] == "error" and "reset before the next step" in over["data"]["message"]
        assert say("reset", seed=10)["data"]["observation"]["task_id"] == "corridor/train/0"


def test_resets_without_a_seed_take_the_tasks_in_turn_and_ids_name_them() -> None:
    with talking_to(CorridorWorld(), num_tasks=3) as say:
        ids = [say("reset")["data"]["observation"]["task_id"] for _ in range(4)]
        assert ids == [f"corridor/train/{index}" for index in (0, 1, 2, 0)]
        named = say("reset", task_id="corridor/train/2", episode_id="mine")
        assert named["data"]["observation"]["task_id"] == "corridor/train/2"
        for wrong in ({"task_id": "corridor/train/9"}, {"split": "nowhere"}, {"seed": "x"}):
            assert say("reset", **wrong)["type"] == "error"


def test_splits_are_asked_for_by_name() -> None:
    with talking_to(HouseholdWorld(), num_tasks=3) as say:
        seen = say("reset", seed=1, split="valid_unseen")["data"]["observation"]
        assert "/valid_unseen/" in seen["task_id"] and seen["family"] == "pick_and_place"
        assert seen["hidden_state"] is None


def test_garbage_is_answered_with_errors_and_the_session_goes_on() -> None:
    with talking_to(CorridorWorld(), num_tasks=3) as say:
        say("reset", seed=0)
        for raw in ("{", '{"type": "dance"}', '{"type": "step", "data": {}}'):
            say.raw(raw)
            assert say.receive()["type"] == "error"
        for wrong in ({"comand": "x"}, {"command": 3}, {"command": None}):
            assert say("step", **wrong)["type"] == "error"
        assert say("step", command="\x00 \u4e2d")["data"]["observation"]["valid"] is False


def test_dreams_are_served_as_dreams() -> None:
    world, model = learned()
    with talking_to(ImaginedWorld(world, model=model), num_tasks=3) as say:
        assert say("reset", seed=0)["data"]["observation"]["source"] == "imagined"
        for way in world.way:
            answer = say("step", command=way)["data"]
        assert (answer["reward"], answer["observation"]["text"]) == (1.0, "You are outside.")
        assert answer["observation"]["source"] == "imagined"
        say("reset", seed=1)
        lost = say("step", command="fly")["data"]
        assert (lost["done"], lost["observation"]["stop"]) == (True, "untrusted")
        assert lost["observation"]["confidence"] == 0.0


def test_a_world_that_hangs_or_breaks_fails_the_step_and_not_the_server() -> None:
    closed: list[str] = []

    class Wild:
        async def reset(self, task: Task) -> Start:
            return Start(observation="well?")

        async def step(self, action: Action) -> Outcome:
            if action.command == "break":
                raise OSError("broken on purpose")
            await asyncio.sleep(60)
            return Outcome(observation="late")

        async def close(self) -> None:
            closed.append("closed")

    class WildWorld(CorridorWorld):
        def make(self) -> Env:  # type: ignore[override]
            return Wild()

    with talking_to(WildWorld(), num_tasks=1, step_timeout_s=0.2) as say:
        say("reset")
        assert "broken on purpose" in say("step", command="break")["data"]["message"]
        say("reset")
        assert "took more than 0.2 s" in say("step", command="hang")["data"]["message"]
        assert say("step", command="go on")["type"] == "error"
        assert say("reset")["data"]["observation"]["text"] == "well?"
    assert closed == ["closed", "closed"]


def test_the_schema_tells_a_client_of_ours_everything() -> None:
    app = make_app(Serving(HouseholdWorld(), num_tasks=4, name="kitchen"))
    with TestClient(app) as client:
        schema = client.get("/schema").json()
        assert schema["observation"]["dyna"] == {
            "world": "kitchen", "source": "real", "split": "train",
            "splits": {"train": 4, "valid_seen": 4, "valid_unseen": 4},
        }  # fmt: skip
        assert schema["action"]["required"] == ["command"]
        assert client.get("/health").json() == {"status": "healthy"}
        assert client.get("/metadata").json()["name"] == "kitchen"
        once = client.post("/reset", json={"seed": 1}).json()
        assert once["observation"]["text"]
