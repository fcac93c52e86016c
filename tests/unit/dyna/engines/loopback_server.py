"""A small OpenAI-compatible server on loopback whose manners a test decides, call by call.

What it says is scripted; that it is a real server on a real socket is not.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """What one call gets."""

    status: int = 200
    body: str | None = None
    """Instead of the usual answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    cut: bool = False
    """Reset the connection in the middle of the answer."""


OK = Reaction()


@dataclass(kw_only=True)
class Loopback:
    """The server's script and its memory."""

    script: list[Reaction] = field(default_factory=list)
    """For the first calls, in the order in which they come; afterwards all is well."""
    say: Callable[[dict[str, Any]], str] = lambda body: "go left"
    usage: tuple[int, int] | None = (100, 10)
    log_probs: bool = True
    models: Sequence[str] = ("tiny",)
    key: str = ""
    """If given, what every call must carry."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """The bodies, as they came."""
    times: list[float] = field(default_factory=list)
    most_at_once: int = 0
    port: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "model_name": "tiny",
            "base_url": f"http://127.0.0.1:{self.port}/v1",
            "api_key_env": "",
            "first_wait_s": 0.01,
        }

    def note(self, body: dict[str, Any]) -> Reaction:
        with self._lock:
            self.calls.append(body)
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            return self.script.pop(0) if self.script else OK

    def done(self) -> None:
        with self._lock:
            self._at_once -= 1

    def answer(self, path: str, *, body: dict[str, Any]) -> dict[str, Any]:
        text = self.say(body)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if path.endswith("/chat/completions"):
            choice["message"] = {"role": "assistant", "content": text}
            if self.log_probs and body.get("logprobs"):
                choice["logprobs"] = {"content": [{"token": c, "logprob": -0.5} for c in text]}
        else:
            choice |= self._tokens(body, text=text)
        answer: dict[str, Any] = {"id": "1", "object": "x", "choices": [choice]}
        if self.usage is not None:
            answer["usage"] = {"prompt_tokens": self.usage[0], "completion_tokens": self.usage[1]}
        return answer

    def _tokens(self, body: dict[str, Any], *, text: str) -> dict[str, Any]:
        """The text's characters as tokens, then a stop token; of allowed ones, the first."""
        ids = [*map(ord, text), *body.get("stop_token_ids", [])][: body["max_tokens"]]
        ids = body.get("allowed_token_ids", ids)[: body["max_tokens"]]
        choice: dict[str, Any] = {"text": text, "token_ids": ids}
        if self.log_probs:
            choice["logprobs"] = {"token_logprobs": [-0.25] * len(ids)}
            if "prompt_logprobs" in body:
                scored = [{str(token): {"logprob": -token / 100}} for token in body["prompt"]]
                choice["prompt_logprobs"] = [None, *scored[1:]]
        return choice


@contextmanager
def serving(loopback: Loopback) -> Generator[Loopback]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(loopback))
    server.daemon_threads = True
    loopback.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(loopback: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._is_welcome():
                models = [{"id": name, "object": "model"} for name in loopback.models]
                self._reply(200, text=json.dumps({"object": "list", "data": models}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if not self._is_welcome():
                return
            reaction = loopback.note(body)
            try:
                time.sleep(reaction.after_s)
                if reaction.cut:
                    self._cut()
                    return
                text = reaction.body
                if text is None and reaction.status == 200:
                    text = json.dumps(loopback.answer(self.path, body=body))
                text = text or json.dumps({"error": {"message": f"status {reaction.status}"}})
                self._reply(reaction.status, text=text, headers=reaction.headers)
            finally:
                loopback.done()

        def log_message(self, format: str, *args: Any) -> None:
            return

        def _is_welcome(self) -> bool:
            welcome = not loopback.key or self.headers["authorization"] == f"Bearer {loopback.key}"
            if not welcome:
                self._reply(401, text=json.dumps({"error": {"message": "wrong key"}}))
            return welcome

        def _reply(self, status: int, *, text: str, headers: Mapping[str, str] = {}) -> None:
            content = text.encode()
            try:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # Whoever asked has given up.

        def _cut(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

    return Handler


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
