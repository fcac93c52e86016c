"""The driver's side of the engine actors: starts, fills, watches and replaces them.

Weights go out by reference: one copy in the object store, which every actor reads. An actor that
dies is restarted by Ray, empty, wherever there is room; the pool fills it again and gives it the
weights before it serves. All end with the driver, whatever ends it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from dyna.cluster.engine_actor import (
    NAMESPACE,
    EngineSpec,
    PushedWeights,
    Status,
    actor_name,
    remote_class,
)
from dyna.cluster.parcels import pack
from dyna.cluster.placement import Room, engine_resources, reserve
from dyna.config import ModelConfig, RunConfig
from dyna.types import Metrics

_log = logging.getLogger(__name__)

_PING_EVERY_S = 1.0
_STOP_S = 5.0
"""For engines to end their own processes before their actor is killed."""
_MAX_REQUESTS = 10_000
"""Of one actor at once; more wait in Ray's queue, and so would its weights."""
_MAX_REST_S = 60.0
"""Between two attempts to fill an actor whose engine does not start."""


class EngineStartError(RuntimeError):
    """An engine actor did not come up; the message says which, and why."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Watched:
    """One actor, and what is going on with it."""

    name: str
    roles: tuple[str, ...]
    handle: Any
    is_ready: bool = False
    ping: Any = None
    asked: float = 0.0
    """When the ping under way was sent."""
    status: Status | None = None
    filling: threading.Thread | None = None
    num_failed: int = 0
    """Attempts to fill it since it last worked."""
    rests_until: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Counts:
    """What `metrics` reports; what is per round is taken out by it."""

    restarts: int = 0
    push_s: float = 0.0
    tokens: int = 0
    most_under_way: int = 0
    since: float = field(default_factory=time.monotonic)


class EnginePool:
    """The engine actors of one run."""

    def __init__(self, config: RunConfig, *, models: Mapping[str, ModelConfig]) -> None:
        """Starts every actor, and waits until all can answer.

        Raises `PlacementError` for want of room, and `EngineStartError` with the cause when an
        engine cannot be made. Nothing is left behind then.
        """
        self.group = f"{config.name}-{uuid.uuid4().hex[:12]}"
        """Under this name players find the actors: `runtime.engine_group`."""
        self.pushed: dict[str, PushedWeights] = {}
        """By role, the weights that everybody has, or is being given."""
        self._config = config
        self._actors: list[_Watched] = []
        self._num_pushes = 0
        self._counts = _Counts()
        self._is_awake = True
        self._closing = threading.Event()
        self._room = reserve(config, num_roles=len(models), name=self.group)
        try:
            self._hire(models, room=self._room)
            self._fill_all()
            self._count_all(timeout_s=_STOP_S)
        except BaseException:
            self.close()
            raise
        self._watcher = threading.Thread(target=self._watch, name="engine watch", daemon=True)
        self._watcher.start()

    def push(self, role: str, weights: Mapping[str, Any], version: int) -> PushedWeights:
        """Give a role's weights to all its actors; returns when those that answer have them.

        Who does not answer gets them when it is back. Raises what the engine raises for weights
        that do not fit.
        """
        started = time.monotonic()
        self._num_pushes += 1
        parcel = pack(weights)
        pushed = PushedWeights(refs=(ray.put(parcel),), version=version, stamp=self._num_pushes)
        self.pushed[role] = pushed
        serving = [a for a in self._actors if role in a.roles and a.is_ready]
        was_awake = self._is_awake
        self.wake()
        self._call(serving, lambda actor: actor.handle.load.remote(role, pushed))
        if not was_awake:
            self.sleep()
        self._counts.push_s += time.monotonic() - started
        return pushed

    def sleep(self) -> None:
        """Let the engines free their GPU memory for the learners, if `engine.sleeps` says so."""
        if self._config.engine.sleeps and self._is_awake:
            self._is_awake = False
            self._call(self._actors, lambda actor: actor.handle.sleep.remote())

    def wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            self._call(self._actors, lambda actor: actor.handle.wake.remote())

    def statuses(self) -> dict[str, Status]:
        """By name, of those that answer now."""
        return {actor.name: status for actor, status in self._statuses(timeout_s=_STOP_S)}

    def metrics(self) -> Metrics:
        """Restarts since the start; the rest since the last call."""
        self._count_all(timeout_s=_PING_EVERY_S)
        counts, now = self._counts, time.monotonic()
        found = {
            "time/engine_restarts": float(counts.restarts),
            "time/weight_push_s": counts.push_s,
            "engine/ready_actors": float(sum(actor.is_ready for actor in self._actors)),
            "engine/tokens_per_s": counts.tokens / max(now - counts.since, 1e-9),
            "engine/most_requests": float(counts.most_under_way),
        }
        self._counts = _Counts(restarts=counts.restarts, since=now)
        return found

    def close(self) -> None:
        """End the actors and give their room back; calling it twice is fine."""
        if self._closing.is_set() or not ray.is_initialized():
            return
        self._closing.set()
        stops = [actor.handle.stop.remote() for actor in self._actors]
        if stops:
            ray.wait(stops, num_returns=len(stops), timeout=_STOP_S)
        for actor in self._actors:
            ray.kill(actor.handle, no_restart=True)
        self._room.release()
        self.pushed.clear()

    def _hire(self, models: Mapping[str, ModelConfig], *, room: Room) -> None:
        engine, runtime = self._config.engine, self._config.runtime
        shares = [tuple(models)] if engine.shared else [(role,) for role in models]
        resources = engine_resources(engine)
        for roles in shares:
            for index in range(engine.num_actors):
                name = actor_name(self.group, role="" if engine.shared else roles[0], index=index)
                handle = (
                    remote_class()
                    .options(
                        name=name,
                        namespace=NAMESPACE,
                        num_cpus=resources.get("CPU", 0.0),
                        num_gpus=resources.get("GPU", 0.0),
                        # For ever, but empty: see `EngineActor`. Calls are asked again by whoever
                        # made them, who can ask another actor.
                        max_restarts=-1,
                        max_task_retries=0,
                        max_concurrency=_MAX_REQUESTS,
                        scheduling_strategy=room.strategy(len(self._actors)),
                        runtime_env={"env_vars": {"OMP_NUM_THREADS": str(runtime.threads)}},
                    )
                    .remote(
                        EngineSpec(
                            engine=engine,
                            models={role: models[role] for role in roles},
                            threads=runtime.threads,
                        )
                    )
                )
                self._actors.append(_Watched(name=name, roles=roles, handle=handle))

    def _fill_all(self) -> None:
        timeout_s = self._config.engine.start_timeout_s
        refs = {actor.handle.start.remote(): actor for actor in self._actors}
        deadline = time.monotonic() + timeout_s
        waiting = list(refs)
        while waiting:
            # One at a time: the first that fails ends the wait for the others.
            done, waiting = ray.wait(waiting, timeout=max(deadline - time.monotonic(), 0.0))
            if not done:
                late = ", ".join(refs[ref].name for ref in waiting)
                raise EngineStartError(
                    f"not ready within engine.start_timeout_s={timeout_s:g}: {late}"
                )
            _take_start(done[0], name=refs[done[0]].name)
            refs[done[0]].is_ready = True

    def _call(self, actors: Sequence[_Watched], call: Callable[[_Watched], Any]) -> list[Any]:
        """Call actors, all at once. Who has died is left out; who hangs is left to the watch."""
        refs = [call(actor) for actor in actors]
        answers: list[Any] = []
        deadline = time.monotonic() + self._config.engine.request_timeout_s
        for actor, ref in zip(actors, refs, strict=True):
            try:
                answers.append(ray.get(ref, timeout=max(deadline - time.monotonic(), 0.1)))
            except RayTaskError as error:
                raise error.as_instanceof_cause() from None
            except (RayActorError, GetTimeoutError) as error:
                actor.is_ready = False
                _log.warning("%s has not answered: %s", actor.name, error)
        return answers

    def _statuses(self, *, timeout_s: float) -> list[tuple[_Watched, Status]]:
        refs = {actor.handle.ping.remote(): actor for actor in self._actors}
        done, _ = ray.wait(list(refs), num_returns=len(refs), timeout=timeout_s)
        answers: list[tuple[_Watched, Status]] = []
        for ref in done:
            try:
                answers.append((refs[ref], ray.get(ref)))
            except RayActorError as error:
                _log.info("%s does not answer: %s", refs[ref].name, error)
        return sorted(answers, key=lambda answer: answer[0].name)

    def _watch(self) -> None:
        while not self._closing.wait(_PING_EVERY_S) and ray.is_initialized():
            try:
                for actor in self._actors:
                    self._look_at(actor)
            except RayError:
                if not self._closing.is_set():
                    _log.exception("the watch over the engine actors stumbled")

    def _look_at(self, actor: _Watched) -> None:
        if actor.ping is None:
            actor.ping, actor.asked = actor.handle.ping.remote(), time.monotonic()
        done, _ = ray.wait([actor.ping], timeout=0)
        timeout_s = self._config.engine.request_timeout_s
        if not done:
            if time.monotonic() - actor.asked > timeout_s:
                self._replace(actor, reason=f"has not answered for {timeout_s:g} s")
            return
        ping, actor.ping = actor.ping, None
        try:
            status = cast(Status, ray.get(ping))
        except RayActorError as error:
            if actor.is_ready:
                _log.error("%s died: %s", actor.name, error)
            actor.is_ready = False
            return
        self._count(actor, status=status)
        if status.idle_s > timeout_s:
            self._replace(actor, reason=f"has made no progress for {status.idle_s:.0f} s")
        elif not status.is_ready or not actor.is_ready:
            self._fill(actor)

    def _count_all(self, *, timeout_s: float) -> None:
        for actor, status in self._statuses(timeout_s=timeout_s):
            self._count(actor, status=status)

    def _count(self, actor: _Watched, *, status: Status) -> None:
        last, actor.status = actor.status, status
        is_new = last is None or last.process_id != status.process_id
        if is_new and last is not None:
            self._counts.restarts += 1
        self._counts.tokens += status.tokens - (0 if is_new or last is None else last.tokens)
        under_way = sum(a.status.under_way for a in self._actors if a.status)
        self._counts.most_under_way = max(self._counts.most_under_way, under_way)

    def _replace(self, actor: _Watched, *, reason: str) -> None:
        _log.error("%s %s and is restarted", actor.name, reason)
        actor.is_ready, actor.ping = False, None
        ray.kill(actor.handle, no_restart=False)

    def _fill(self, actor: _Watched) -> None:
        """Start the engines of a restarted actor, beside the watch over the others."""
        if actor.filling is not None and actor.filling.is_alive():
            return
        if time.monotonic() < actor.rests_until:
            return
        actor.filling = threading.Thread(
            target=self._fill_now, args=(actor,), name=f"fill {actor.name}", daemon=True
        )
        actor.filling.start()

    def _fill_now(self, actor: _Watched) -> None:
        try:
            ref = actor.handle.start.remote()
            ray.wait([ref], timeout=self._config.engine.start_timeout_s)
            _take_start(ref, name=actor.name)
            for role in actor.roles:
                while role in self.pushed and not self._has_newest(actor, role=role):
                    ref = actor.handle.load.remote(role, self.pushed[role])
                    refusal: Any = ray.get(ref)
                    if refusal is not None:
                        raise EngineStartError(f"{actor.name} was restarted again meanwhile")
        except (EngineStartError, RayError) as error:
            if not self._closing.is_set():
                actor.num_failed += 1
                rest_s = min(2.0**actor.num_failed, _MAX_REST_S)
                actor.rests_until = time.monotonic() + rest_s
                _log.error("%s cannot serve, again in %g s: %s", actor.name, rest_s, error)
        else:
            actor.num_failed = 0
            actor.is_ready = True
            if not self._is_awake:
                actor.handle.sleep.remote()
            _log.warning("%s is back, with the newest weights", actor.name)

    def _has_newest(self, actor: _Watched, *, role: str) -> bool:
        status = cast(Status, ray.get(actor.handle.ping.remote()))
        return status.stamps[role] >= self.pushed[role].stamp


def _take_start(ref: Any, *, name: str) -> None:
    """Raise `EngineStartError` unless the start has come to a good end."""
    try:
        ray.get(ref, timeout=0)
    except RayTaskError as error:
        raise EngineStartError(f"{name} cannot start: {error.cause}") from error
    except RayActorError as error:
        raise EngineStartError(
            f"{name} died while it started; its log says why, most likely memory: {error}"
        ) from error
    except GetTimeoutError as error:
        raise EngineStartError(f"{name} has not started in time") from error
