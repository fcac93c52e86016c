"""The engine actor: a process that holds engines and answers all players of a run.

It begins empty, and is filled and watched by the run's `EnginePool`: so an engine that cannot start
is an answer with a traceback, never an actor that dies and restarts for ever. Requests name the
push whose weights they want, and are refused, not answered with others.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUntypedFunctionDecorator=false
from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn, Protocol, runtime_checkable

import ray

from dyna.cluster.parcels import Parcel, unpack
from dyna.config import EngineConfig, ModelConfig
from dyna.engines.making import make_engines
from dyna.protocols import Closeable, Completion, Engine, EngineLostError, GenerationRequest

_log = logging.getLogger(__name__)

NAMESPACE = "dyna-engines"
"""Of the names of all engine actors, whatever namespace their driver is in."""
_CONTROL = "control"
"""Calls of this group have a thread of their own: they are answered while the engine computes."""


def actor_name(group: str, *, role: str, index: int) -> str:
    """Of an actor of the run `group`; `role` is empty where each holds all roles."""
    return f"{group}/{role or 'shared'}/{index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What an actor holds."""

    engine: EngineConfig
    models: Mapping[str, ModelConfig]
    """By role; several only where one engine holds them as adapters."""
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedWeights:
    """Weights in Ray's object store, which every actor of a node reads from one copy."""

    refs: tuple[Any, ...]
    """The `ObjectRef` of a `Parcel`, alone in a tuple: Ray would fetch a bare argument."""
    version: int
    stamp: int
    """The number of the push, growing: two pushes may have one version, after a restore."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `ping` answers."""

    process_id: int
    is_ready: bool
    """It holds its engines."""
    stamps: Mapping[str, int]
    """By role, the push whose weights it has; 0 those it was made with."""
    versions: Mapping[str, int]
    under_way: int
    """Requests that it has not answered yet."""
    idle_s: float
    """Seconds since a token was sampled or a request came to nothing under way; 0 with none."""
    tokens: int
    """Sampled since it was made."""


class Refusal(StrEnum):
    """Why a request was not answered."""

    EMPTY = "empty"
    """The actor was restarted and holds no engine yet."""
    BEHIND = "behind"
    """It lacks the weights that the request wants."""
    AHEAD = "ahead"
    """It has newer ones."""


class TokenCounts(Protocol):
    @property
    def tokens_generated(self) -> int: ...


@runtime_checkable
class HasStats(Protocol):
    """An engine that counts tokens as it samples them, not only when a request is done."""

    @property
    def stats(self) -> TokenCounts: ...


@runtime_checkable
class HasSleep(Protocol):
    """An engine that can free its GPU memory while somebody else needs it."""

    def sleep(self) -> None: ...

    def wake(self) -> None:
        """Be ready again, with the weights that it slept with."""
        ...


class EngineActor:
    """Holds the engines of its roles. All but `ping` run on one event loop, in turns."""

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._engines: dict[str, Engine] = {}
        self._stamps: dict[str, int] = dict.fromkeys(spec.models, 0)
        self._under_way = 0
        self._completed_tokens = 0
        self._seen_tokens = 0
        self._progress = time.monotonic()

    async def start(self) -> None:
        """Make the engines; raises what their constructors raise. Done once."""
        if not self._engines:
            self._engines = make_engines(self._spec.engine, models=self._spec.models)

    async def generate(
        self, request: GenerationRequest, *, role: str, stamp: int, is_exact: bool
    ) -> Completion | Refusal:
        """Answer with the weights of push `stamp`, or newer ones unless `is_exact`.

        Raises what the engine raises.
        """
        if role not in self._engines:
            return Refusal.EMPTY
        refusal = self._refusal(role, stamp=stamp, is_exact=is_exact)
        if refusal is not None:
            return refusal
        if not self._under_way:
            self._progress = time.monotonic()
        self._under_way += 1
        try:
            completion = await self._engines[role].generate(request)
        except EngineLostError:
            self._give_up()
        finally:
            self._under_way -= 1
        self._progress = time.monotonic()
        self._completed_tokens += len(completion.token_ids)
        # Weights may have come while it was sampled.
        return self._refusal(role, stamp=stamp, is_exact=is_exact) or completion

    async def load(self, role: str, pushed: PushedWeights) -> Refusal | None:
        """Take weights in place; what is under way goes on with them. Newer ones are kept."""
        if role not in self._engines:
            return Refusal.EMPTY
        if self._stamps[role] >= pushed.stamp:
            return None
        parcel: Parcel = await pushed.refs[0]
        if self._stamps[role] < pushed.stamp:
            try:
                self._engines[role].load_weights(unpack(parcel), version=pushed.version)
            except EngineLostError:
                self._give_up()
            self._stamps[role] = pushed.stamp
            self._progress = time.monotonic()
        return None

    async def sleep(self) -> None:
        """Free what the engines can free until `wake`; nothing where they cannot."""
        for engine in self._distinct():
            if isinstance(engine, HasSleep):
                engine.sleep()

    async def wake(self) -> None:
        for engine in self._distinct():
            if isinstance(engine, HasSleep):
                engine.wake()
        self._progress = time.monotonic()

    async def stop(self) -> None:
        """End the engines' own processes; the actor is killed after this."""
        for engine in self._distinct():
            if isinstance(engine, Closeable):
                engine.close()

    @ray.method(concurrency_group=_CONTROL)
    async def ping(self) -> Status:
        """How it is; answered while the engines compute."""
        tokens = self._tokens()
        if tokens != self._seen_tokens:
            self._seen_tokens = tokens
            self._progress = time.monotonic()
        return Status(
            process_id=os.getpid(),
            is_ready=bool(self._engines),
            stamps=dict(self._stamps),
            versions={role: engine.weights_version for role, engine in self._engines.items()},
            under_way=self._under_way,
            idle_s=time.monotonic() - self._progress if self._under_way else 0.0,
            tokens=tokens,
        )

    def _distinct(self) -> list[Engine]:
        """Adapters of one engine sleep and end together."""
        engines = list(self._engines.values())
        return engines[:1] if self._spec.engine.shared else engines

    def _give_up(self) -> NoReturn:
        """The engine's own processes are gone: end this one, which Ray starts anew."""
        _log.exception("the engine of this actor died, and the actor with it")
        logging.shutdown()
        os._exit(1)

    def _refusal(self, role: str, *, stamp: int, is_exact: bool) -> Refusal | None:
        if self._stamps[role] < stamp:
            return Refusal.BEHIND
        return Refusal.AHEAD if is_exact and self._stamps[role] > stamp else None

    def _tokens(self) -> int:
        counted = [engine for engine in self._engines.values() if isinstance(engine, HasStats)]
        if len(counted) < len(self._engines):
            return self._completed_tokens
        # Adapters of one engine count together.
        counts = {id(engine.stats): engine.stats.tokens_generated for engine in counted}
        return sum(counts.values())


def remote_class() -> Any:
    """`EngineActor` as Ray starts it, before its options of place and name."""
    remote: Any = ray.remote
    return remote(concurrency_groups={_CONTROL: 16})(EngineActor)
