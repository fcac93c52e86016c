"""The worlds that ship, and what each of them needs: what `dyna worlds` prints. Imports none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldInfo:
    """Example: `find("scienceworld").extra` is `"scienceworld"`."""

    name: str
    """The alias, as in `world.name` of a config."""
    summary: str
    extra: str = ""
    """The extra of this package that brings what it needs; empty means nothing."""
    java: bool = False
    data: str = ""
    """What its parameter `data` must point to; empty where it takes none."""
    data_required: bool = False
    licence: str = "Apache-2.0"
    """Of the code that runs: ours, or the packages of the extra."""
    hidden_state: bool = False
    """Whether the world model is told the world's privileged state."""
    expert: bool = False


WORLDS: tuple[WorldInfo, ...] = (
    WorldInfo(
        name="household",
        summary="ALFWorld's household in pure Python; houses of any size and any words",
        hidden_state=True,
        expert=True,
    ),
    WorldInfo(
        name="alfworld",
        summary="ALFWorld's official games, in the household engine or in ALFWorld's own",
        extra="alfworld",
        data="the folder that alfworld-download made, or games packed as JSON lines",
        data_required=True,
        licence="Apache-2.0; engine=official: MIT, with GPL-2.0 and GPL-3.0 parts",
        hidden_state=True,
        expert=True,
    ),
    WorldInfo(
        name="scienceworld",
        summary="elementary-school science in a simulated lab, 30 task types",
        extra="scienceworld",
        java=True,
        licence="Apache-2.0",
        hidden_state=True,
        expert=True,
    ),
    WorldInfo(
        name="textworld",
        summary="generated text games: simple, coin_collector, treasure_hunter, cooking",
        extra="textworld",
        licence="MIT, with GPL-2.0 parts (jericho)",
        expert=True,
    ),
    WorldInfo(
        name="webshop",
        summary="buy what the instruction asks for, in a shop of any catalogue",
        extra="webshop",
        data="a folder of WebShop's files (items_shuffle*.json, items_ins_v2*.json, ...)",
        expert=True,
    ),
    WorldInfo(
        name="toolbench",
        summary="answer a query by calling APIs, in ToolBench's formats",
        data="StableToolBench's solvable queries (a folder or file), with `cache` or `server`",
        hidden_state=True,
        expert=True,
    ),
    WorldInfo(
        name="toolbench_mirror",
        summary="one call, one response: an API's document and a request, as in MirrorAPI",
        data="as for toolbench, with `cache`",
        hidden_state=True,
        expert=True,
    ),
    WorldInfo(
        name="textworld_express",
        summary="fast text games on Java: cookingworld, coin, mapreader, twc, ...",
        extra="textworld-express",
        java=True,
        expert=True,
    ),
    WorldInfo(name="gymnasium", summary="any Gymnasium environment that can be told in text"),
    WorldInfo(
        name="openenv",
        summary="any environment behind an OpenEnv server",
        extra="openenv",
        licence="BSD-3-Clause",
    ),
    WorldInfo(
        name="stream",
        summary="several of these behind one; what a run with a `stream` plays",
        hidden_state=True,
        expert=True,
    ),
    WorldInfo(name="corridor", summary="doors in a row, for tests and examples", hidden_state=True),
)


def find(name: str) -> WorldInfo | None:
    """The world of that name; None for one that does not ship with this package."""
    return next((world for world in WORLDS if world.name == name), None)


__all__ = ["WORLDS", "WorldInfo", "find"]
