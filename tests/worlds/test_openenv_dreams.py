"""A finished run's world model behind OpenEnv: what another trainer would play."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("openenv", reason="the openenv extra is not installed")

from dyna import checkpoint
from dyna.envs.openenv import OpenEnvWorld
from dyna.types import Action, StopReason
from experiments.serve import main
from tests.e2e.tiny_run import play, save_tiny_model, tiny
from tests.worlds.openenv_server import process, url_of, world_at


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    save_tiny_model(folder / "model")
    play(tiny(folder / "model", "rounds=1"), folder=folder / "run")
    return folder / "run"


def test_the_world_model_of_a_run_is_served_as_what_it_is(run: Path) -> None:
    before = checkpoint.latest(run)
    with process("-m", "experiments.serve", "--run", str(run), "--port", "0") as started:
        url = url_of(started)
        world = world_at(url, imagined=True)
        with pytest.raises(ValueError, match="is a world model, not a world"):
            OpenEnvWorld(url=url)

        async def dream(index: int) -> tuple[str, list[str], StopReason | None]:
            env = world.make()
            start = await env.reset(world.tasks(split="train", num=1, offset=index)[0])
            said: list[str] = []
            stop = None
            while stop is None:
                outcome = await env.step(Action(command="look"))
                said.append(outcome.observation)
                stop = outcome.stop
            await env.close()
            return start.observation, said, stop

        async def together() -> list[tuple[str, list[str], StopReason | None]]:
            return await asyncio.gather(*(dream(index % 2) for index in range(4)))

        episodes = asyncio.run(together())
    starts = {start for start, _, _ in episodes}
    assert len(starts) == 2 and all("Your task is to" in start for start in starts)
    # A random model's words are no prediction: the dream ends there, and is worth nothing.
    ends = {stop for _, _, stop in episodes}
    assert ends <= {StopReason.UNPARSEABLE, StopReason.UNTRUSTED, StopReason.HORIZON}
    assert checkpoint.latest(run) == before


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not the folder of a run"):
        main(["--run", str(tmp_path)])
    with pytest.raises(ValueError, match="name one world"):
        main([])
    with pytest.raises(ValueError, match="name one world"):
        main(["household", "--run", str(tmp_path)])
    with pytest.raises(ValueError, match="did you mean `household`"):
        main(["houshold"])
