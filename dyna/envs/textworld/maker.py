"""The process that makes games: reads requests as JSON lines, answers each with one line.

Run as `python -m dyna.envs.textworld.maker`, with PYTHONHASHSEED=0, because cooking games depend on
the order of sets. Every game is made in a fork, so it depends on its own seed alone and never on
the games before it. What is slow and always the same, parsing a challenge's rules and grammars, is
done once, before the forks.
"""

from __future__ import annotations

import io
import json
import os
import random
import select
import signal
import sys
import tempfile
import traceback
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from dyna.envs.textworld.challenges import bucket_of
from dyna.envs.textworld.content import content_key
from dyna.envs.textworld.store import INFO_MEMBER, RECORD_MEMBER, STORY_MEMBER
from dyna.files import replacing
from dyna.seeding import derive_seed

textworld: Any = import_module("textworld")
_challenges: Any = import_module("textworld.challenges")
_generator: Any = import_module("textworld.generator")
_game_maker: Any = import_module("textworld.generator.maker").GameMaker
_logic: Any = import_module("textworld.logic").GameLogic

MAX_ATTEMPTS = 400
"""Seeds tried for one task before its split is held to have no such game."""
MAX_SECONDS = 300
"""CPU-bound making of one game; the hardest levels take some ten seconds."""
IDLE_SECONDS = 60
"""Without a request, after which the process ends; the next request starts another."""
UNMAKEABLE: tuple[type[Exception], ...] = (
    import_module("textworld.generator.chaining").QuestGenerationError,
    import_module("textworld.generator.vtypes").NotEnoughNounsError,
    import_module("textworld.generator.world").NoFreeExitError,
)
"""What the generators raise for a seed that has no game."""
_NO_WALKTHROUGH = "the generator gives no walkthrough"

_warm: set[tuple[object, ...]] = set()
_parsed: dict[tuple[str, ...], Any] = {}
_load_rules: Callable[[list[str]], Any] = _logic.load


def _load_rules_once(paths: list[str]) -> Any:
    """The parsed rules, in the order of file names and not of the disk."""
    key = tuple(sorted(paths))
    if key not in _parsed:
        _parsed[key] = _load_rules(list(key))
    return _parsed[key]


def serve() -> None:
    """Answer requests from standard input until it ends, or none comes for a while."""
    warnings.simplefilter("ignore")
    _logic.load = _load_rules_once
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        try:
            answer = _answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Find the task's first seed that makes a game of its split, and make that game."""
    _warm_up(request)
    skipped: list[dict[str, Any]] = []
    for attempt in range(MAX_ATTEMPTS):
        seed = derive_seed(request["seed"], "attempt", attempt) % 2**31
        draft = _in_fork(partial(_draft, request, seed=seed))
        reason = draft.get("skip") or _misplaced(draft["content"], request=request)
        if reason:
            skipped.append({"seed": seed, "reason": reason})
            continue
        make = partial(_make, request, seed=seed, content=draft["content"], skipped=skipped)
        whole = _in_fork(make)
        if "skip" not in whole:
            return whole
        skipped.append({"seed": seed, "reason": whole["skip"]})
    raise ValueError(
        f"{MAX_ATTEMPTS} seeds in a row made no game of split {request['split']!r}, the last "
        f"because {skipped[-1]['reason']}; choose other settings"
    )


def _warm_up(request: Mapping[str, Any]) -> None:
    """Fill the package's own caches before the forks, once per challenge."""
    settings = request["settings"]
    key = (request["challenge"], bool(settings.get("drop")), settings.get("theme"))
    if key not in _warm:
        _warm.add(key)
        _draft(request, seed=0)


def _misplaced(content: str, *, request: Mapping[str, Any]) -> str:
    bucket = bucket_of(content)
    return "" if bucket in request["buckets"] else f"its content is of bucket {bucket}"


def _draft(request: Mapping[str, Any], *, seed: int) -> dict[str, Any]:
    """The content of a game, without the compiler: its walkthrough is not played through."""
    play_through = _game_maker.set_walkthrough
    _game_maker.set_walkthrough = _skip_walkthrough
    try:
        return {"content": content_key(_generate(request, seed=seed)[0].serialize())}
    except UNMAKEABLE as error:
        return {"skip": f"{type(error).__name__}: {error}"}
    finally:
        _game_maker.set_walkthrough = play_through


def _skip_walkthrough(_maker: object, _commands: object) -> None:
    return


def _generate(request: Mapping[str, Any], *, seed: int) -> tuple[Any, Any]:
    # Nothing may depend on what this process did before it was forked.
    textworld.g_rng.set_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    options = textworld.GameOptions()
    options.seeds = seed
    options.path = f"./{STORY_MEMBER}"
    options.force_recompile = True
    settings = dict(request["settings"])
    if request["challenge"] == "custom":
        return _custom(settings, options=options), options
    make = _challenges.CHALLENGES[request["challenge"]][1]
    return make(settings, options), options


def _custom(settings: Mapping[str, Any], *, options: Any) -> Any:
    options.nb_rooms = settings["world_size"]
    options.nb_objects = settings["nb_objects"]
    options.nb_parallel_quests = settings["nb_parallel_quests"]
    options.quest_length = settings["quest_length"]
    options.quest_breadth = settings["quest_breadth"]
    for name in (
        "theme",
        "include_adj",
        "blend_descriptions",
        "ambiguous_instructions",
        "only_last_action",
    ):
        setattr(options.grammar, name, settings[name])
    options.grammar.allowed_variables_numbering = settings["entity_numbering"]
    return _generator.make_game(options)


def _make(
    request: Mapping[str, Any], *, seed: int, content: str, skipped: list[dict[str, Any]]
) -> dict[str, Any]:
    """Generate, compile and pack one game; its record."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            game, options = _generate(request, seed=seed)
        except UNMAKEABLE as error:
            return {"skip": f"{type(error).__name__}: {error}"}
        walkthrough = list(game.metadata.get("walkthrough") or [])
        if not walkthrough:
            return {"skip": _NO_WALKTHROUGH}
        _generator.compile_game(game, options)
        info = json.loads(Path(INFO_MEMBER).read_text(encoding="utf-8"))
        if content_key(info) != content:
            raise RuntimeError(f"seed {seed} made another game in full than in draft")
        record = {
            "seed": seed,
            "content": content,
            "walkthrough": walkthrough,
            "objective": game.objective,
            "max_score": game.max_score,
            "skipped": skipped,
        }
        _pack(Path(request["path"]), record=record, folder=Path(folder))
        os.chdir("/")
    return record


def _pack(path: Path, *, record: Mapping[str, Any], folder: Path) -> None:
    """One archive, equal byte for byte for equal games; the archive's checksums guard it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (STORY_MEMBER, INFO_MEMBER):
            archive.writestr(_member(name), (folder / name).read_bytes())
        archive.writestr(_member(RECORD_MEMBER), json.dumps(record, indent=1))
    with replacing(path) as draft:
        draft.write_bytes(packed.getvalue())


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    return member


def _in_fork(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of `work`, done in a child process that is gone afterwards."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 0
        try:
            signal.alarm(MAX_SECONDS)
            try:
                answer = work()
            except Exception:
                answer = {"crash": traceback.format_exc(limit=-3)}
            with os.fdopen(writer, "w", encoding="utf-8") as pipe:
                json.dump(answer, pipe)
        except BaseException:
            status = 1
            raise
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        code = os.waitstatus_to_exitcode(status)
        hint = f", over {MAX_SECONDS} s" if code == -signal.SIGALRM else ""
        raise RuntimeError(f"the generator's process ended with code {code}{hint}")
    answer = json.loads(text)
    if "crash" in answer:
        raise RuntimeError(answer["crash"])
    return answer


if __name__ == "__main__":
    serve()
