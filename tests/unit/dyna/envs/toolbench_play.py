"""Playing an episode of a world with a policy of plain functions, and servers on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dyna.protocols import World
from dyna.seeding import derive_seed
from dyna.types import Action, Context, Start, Task, Turn

Reply = Callable[[Mapping[str, Any]], tuple[int, bytes]]


def play(
    world: World,
    task: Task,
    policy: Callable[[Context], str],
    *,
    max_turns: int = 12,
    seed: int = 0,
) -> tuple[Start, list[Turn]]:
    async def episode() -> tuple[Start, list[Turn]]:
        env = world.make()
        start = await env.reset(task)
        turns: list[Turn] = []
        for length in range(max_turns):
            command = policy(
                Context(
                    task=task,
                    start=start,
                    turns=turns,
                    length=length,
                    seed=derive_seed(seed, task.id, length),
                )
            )
            action = Action(command=command)
            turns.append(Turn(action=action, outcome=await env.step(action)))
            if turns[-1].outcome.stop is not None:
                break
        await env.close()
        return start, turns

    return asyncio.run(episode())


def say(world: World, task: Task, *commands: str) -> list[Turn]:
    given = iter(commands)
    return play(world, task, lambda context: next(given), max_turns=len(commands))[1]


@contextmanager
def serving(reply: Reply) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server on loopback that answers every POST; its address, and the requests it was sent."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "headers": dict(self.headers), "body": body})
            status, data = reply(body)
            with suppress(ConnectionError):  # one that asked may have gone
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_json(value: Any, *, status: int = 200) -> tuple[int, bytes]:
    return status, json.dumps(value).encode()
