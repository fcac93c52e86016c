"""Any world of ours, real or imagined, behind an OpenEnv server: `serve(Serving(world))`."""
# pyright: reportMissingImports=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any

from dyna.envs.extras import require
from dyna.envs.openenv.schema import EXTENSION
from dyna.envs.openenv.serving import Serving

_log = logging.getLogger(__name__)
_GRACE_S = 2
"""How long sessions that are still open may take when the server is told to stop."""


def make_app(serving: Serving) -> Any:
    """The FastAPI application of OpenEnv for it. Raises `MissingExtraError` without the extra."""
    require("openenv", world="openenv")
    from openenv.core.env_server import create_app
    from pydantic import ConfigDict

    from dyna.envs.openenv.environment import WorldEnvironment
    from dyna.envs.openenv.messages import CommandAction, TextObservation

    class ServedObservation(TextObservation):
        model_config = ConfigDict(
            title=TextObservation.__name__,
            json_schema_extra={EXTENSION: dict(serving.description)},
        )

    return create_app(
        lambda: WorldEnvironment(serving),
        CommandAction,
        ServedObservation,
        env_name=serving.name,
        max_concurrent_envs=serving.max_sessions,
    )


def serve(
    serving: Serving,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. `port` 0 takes a free one; `on_ready` is told the URL.

    Anybody who reaches the port may play: the default host is this machine alone. Raises
    `MissingExtraError` without the extra, and `OSError` when the port is taken.
    """
    app = make_app(serving)
    import uvicorn

    with closing(_listen(host, port=port)) as listening:
        bound = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{bound}"
        _log.info("serving %s (%s) at %s", serving.name, serving.source.value, url)
        if on_ready is not None:
            on_ready(url)
        config = uvicorn.Config(
            app, log_level="warning", timeout_graceful_shutdown=_GRACE_S, ws_ping_interval=20.0
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, *, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise OSError(
            f"cannot listen on {host}:{port}: {error}; choose another port, or 0 for a free one"
        ) from error
    return listening


__all__ = ["make_app", "serve"]
