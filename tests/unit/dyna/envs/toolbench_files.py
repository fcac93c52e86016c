"""Small files in StableToolBench's formats: queries, and a cache of responses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PARCEL_API: dict[str, Any] = {
    "category_name": "Logistics",
    "tool_name": "Parcel Watch 2",
    "api_name": "Latest/Status",
    "api_description": "The last\nstatus.",
    "required_parameters": [
        {"name": "id", "type": "STRING", "description": "", "default": "T-1"},
        {"name": "lang-code", "type": "STRING", "description": "", "default": ""},
    ],
    "optional_parameters": [{"name": "page", "type": "NUMBER", "description": "", "default": 1}],
    "method": "GET",
    "template_response": {"status": "str"},
}
PARCEL = "latest_status_for_parcel_watch_2"
HEALTH_API: dict[str, Any] = {
    "category_name": "News, Media",
    "tool_name": "3News",
    "api_name": "Health",
    "api_description": "",
    "required_parameters": [],
    "optional_parameters": [],
    "method": "GET",
}
HEALTH = "health_for_get_3news"


def query(text: str, number: int, *apis: dict[str, Any]) -> dict[str, Any]:
    listed = list(apis or (PARCEL_API, HEALTH_API))
    return {
        "query": text,
        "query_id": number,
        "api_list": listed,
        "relevant APIs": [[api.get("tool_name"), api.get("api_name")] for api in listed[:1]],
    }


def write_queries(folder: Path, *, num: int = 12) -> Path:
    """Two sets; query 0 of both asks the same in other blanks and letters."""
    folder.mkdir()
    for name, text in (("G1_tool", "Where is  parcel {}?"), ("G2_category", "where is PARCEL {}?")):
        queries = [query(text.format(i or "zero"), i) for i in range(num)]
        if name == "G2_category":
            queries = [*queries[:1], *(query(f"What of {i}?", i) for i in range(1, num))]
        (folder / f"{name}.json").write_text(json.dumps(queries))
    return folder


def write_cache(folder: Path) -> Path:
    """As StableToolBench's server lays it out."""
    parcel = folder / "Logistics" / "parcel_watch_2_for_Logistics"
    parcel.mkdir(parents=True)
    recorded = {
        "{'is_id': 'T-1', 'lang_code': 'en'}": {"error": "", "response": "{'status': 'lost'}"},
        "{'is_id': 'T-2', 'lang_code': 'en'}": {"error": "Message error...", "response": "no"},
        "not a dictionary": {"error": "", "response": ""},
    }
    (parcel / "latest_status.json").write_text(json.dumps(recorded))
    health = folder / "News_Media" / "get_3news"
    health.mkdir(parents=True)
    (health / "health.json").write_text(json.dumps({"{}": {"error": "", "response": {"up": 1}}}))
    return folder
