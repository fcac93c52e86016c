"""Which files make up a catalogue: WebShop's names, in a folder or beside one named file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INVENTED = Path(__file__).parent / "invented"
"""The catalogue that ships, written by `dyna.envs.webshop.invention`."""

_ITEMS = "items_shuffle"
_INSTRUCTIONS = "items_ins_v2"
_HUMAN = "items_human_ins"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueFiles:
    items: Path
    instructions: Path
    human: Path | None
    """None where there is no file of human instructions."""


def find_files(data: str) -> CatalogueFiles:
    """The files of a catalogue. `data` is a folder, one `items_shuffle*.json` whose companions lie
    beside it (those of the same ending first), or empty for the catalogue that ships.

    Raises `FileNotFoundError` for what is missing and `ValueError` for a folder that holds several.
    """
    path = Path(data).expanduser() if data else INVENTED
    if path.is_file():
        items = path
    elif path.is_dir():
        items = _only(path, _ITEMS)
    else:
        raise FileNotFoundError(
            f"webshop: data={data!r} is neither a folder nor a file; give the folder that holds "
            f"{_ITEMS}*.json and {_INSTRUCTIONS}*.json, or leave it empty for the invented shop"
        )
    ending = items.name.removeprefix(_ITEMS)
    companion = items.with_name(_INSTRUCTIONS + ending)
    human = items.with_name(f"{_HUMAN}.json")
    return CatalogueFiles(
        items=items,
        instructions=companion if companion.is_file() else _only(items.parent, _INSTRUCTIONS),
        human=human if human.is_file() else None,
    )


def _only(folder: Path, prefix: str) -> Path:
    found = sorted(path for path in folder.glob(f"{prefix}*.json") if path.is_file())
    if not found:
        raise FileNotFoundError(
            f"webshop: no {prefix}*.json in {folder}; a catalogue needs {_ITEMS}*.json and "
            f"{_INSTRUCTIONS}*.json, as WebShop's setup downloads them"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(
            f"webshop: {folder} holds several: {names}; give the {_ITEMS} file itself as `data`"
        )
    return found[0]


__all__ = ["INVENTED", "CatalogueFiles", "find_files"]
