"""What a game is, apart from how it is worded: its map, its things, and what wins or loses.

Two games with equal content are the same game, even if the generator described the rooms in other
words; splits are kept apart by this key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any


def content_key(game: Mapping[str, Any]) -> str:
    """A hash, 32 hexadecimal digits, of a game as `textworld.Game.serialize` gives it.

    Things are known by the names that a player reads, and by their ids where they have none.
    """
    names = {key: info.get("name") or key for key, info in game["infos"]}

    def say(fact: Mapping[str, Any]) -> str:
        words = [f"{names.get(a['name'], a['name'])}:{a['type']}" for a in fact["arguments"]]
        return f"{fact['name']}({', '.join(words)})"

    def say_events(events: Sequence[Mapping[str, Any]]) -> list[list[str]]:
        return sorted(sorted(map(say, event["condition"]["preconditions"])) for event in events)

    quests = sorted(
        (say_events(quest["win_events"]), say_events(quest["fail_events"]), quest["reward"])
        for quest in game["quests"]
    )
    content = {"facts": sorted(map(say, game["world"])), "quests": quests}
    return blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


__all__ = ["content_key"]
