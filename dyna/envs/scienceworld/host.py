"""The Java process that all ScienceWorlds of this Python process share, and its replacement.

A host starts Java when first asked, hands out interfaces from a bounded pool, and starts another
Java when the last one died. It ends with the last world that uses it, at the latest at exit.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from dataclasses import dataclass

from dyna.envs.jvm import CONSTANT_HASH_CODES, Jvm
from dyna.envs.scienceworld.simulator import SharedState, Simulator

_log = logging.getLogger(__name__)

_MB_PER_INTERFACE = 16
"""Heap for each open episode: a loaded game takes 10.5 MB, and as much again while it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaOptions:
    """Worlds with equal options share one process."""

    java: str
    heap_mb: int
    timeout_s: float
    purpose: str = "play"
    """`play`, or `solve` for gold paths, which take long and would hold up the players."""

    @property
    def max_interfaces(self) -> int:
        return max(1, self.heap_mb // _MB_PER_INTERFACE)


def start_java(options: JavaOptions) -> Jvm:
    """Raises `JavaError` if it does not start."""
    return Jvm(
        "scienceworld",
        jar="scienceworld.jar",
        java=options.java,
        heap_mb=options.heap_mb,
        timeout_s=options.timeout_s,
        options=CONSTANT_HASH_CODES,
    )


class _Generation:
    """One Java process with the interfaces made in it."""

    def __init__(self, options: JavaOptions) -> None:
        self.jvm = start_java(options)
        self.shared = SharedState(self.jvm)
        self.free: deque[Simulator] = deque()
        self.num_made = 0


class Seat:
    """A simulator on loan to one env; goes back to the pool when given back or forgotten."""

    def __init__(self, simulator: Simulator, *, free: deque[Simulator]) -> None:
        self.simulator = simulator
        self._return = weakref.finalize(self, free.append, simulator)
        self._return.atexit = False

    @property
    def alive(self) -> bool:
        return self.simulator.jvm.alive

    def give_back(self) -> None:
        self._return()


class JavaHost:
    """Example: `host = JavaHost.join(options, user=world)`; `host.leave(user=world)` at its end."""

    def __init__(self, options: JavaOptions) -> None:
        self.options = options
        self._lock = threading.Lock()
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._generation: _Generation | None = None

    @staticmethod
    def join(options: JavaOptions, *, user: object) -> JavaHost:
        """The host of these options, which lives at least until `user` leaves or is forgotten."""
        host = _HOSTS.setdefault(options, JavaHost(options))
        host._users.add(user)
        weakref.finalize(user, host._close_if_unused).atexit = False
        return host

    @property
    def pid(self) -> int | None:
        """Of the Java process; None while there is none."""
        generation = self._generation
        return generation.jvm.pid if generation and generation.jvm.alive else None

    def seat(self) -> Seat:
        """A simulator that nobody else uses. Raises `JavaError` if Java cannot be started, and
        `RuntimeError` when too many are in use."""
        with self._lock:
            generation = self._living()
            if generation.free:
                simulator = generation.free.popleft()
            elif generation.num_made < self.options.max_interfaces:
                simulator = Simulator(generation.jvm, shared=generation.shared)
                generation.num_made += 1
            else:
                raise RuntimeError(
                    f"{generation.num_made} ScienceWorld episodes are already open in a Java heap "
                    f"of {self.options.heap_mb} MB; close envs that are done, run fewer at a time, "
                    f"or raise heap_mb ({_MB_PER_INTERFACE} MB for each)"
                )
            return Seat(simulator, free=generation.free)

    def leave(self, *, user: object) -> None:
        self._users.discard(user)
        self._close_if_unused()

    def close(self) -> None:
        with self._lock:
            generation, self._generation = self._generation, None
        if generation is not None:
            generation.jvm.close()

    def forget(self) -> None:
        """In a forked child: the parent's Java is not ours."""
        self._lock = threading.Lock()
        self._generation = None

    def _living(self) -> _Generation:
        generation = self._generation
        if generation is not None and not generation.jvm.alive:
            _log.warning(
                "scienceworld's Java (pid %d) is gone; starting another", generation.jvm.pid
            )
            generation.jvm.close()
            generation = None
        if generation is None:
            generation = self._generation = _Generation(self.options)
        return generation

    def _close_if_unused(self) -> None:
        if not self._users:
            self.close()


_HOSTS: dict[JavaOptions, JavaHost] = {}


@atexit.register
def _close_all() -> None:
    for host in _HOSTS.values():
        host.close()


def _forget_all() -> None:
    for host in _HOSTS.values():
        host.forget()


os.register_at_fork(after_in_child=_forget_all)

__all__ = ["JavaHost", "JavaOptions", "Seat", "start_java"]
