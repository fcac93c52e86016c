"""What an API is: its document in ToolBench's fields, what it does, and what its answers mean.

An `Output` names one value in a response together with a noun phrase for it. Phrases nest as calls
are chained, and so a chain of calls reads as a question: "the humidity in the city where the
customer of order O-204 lives".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from dyna.envs.toolbench.tables import Row, Tables

MAX_RESULTS = 10
_DEFAULT_RESULTS = 5
Arguments: TypeAlias = Mapping[str, Any]
Run: TypeAlias = Callable[[Tables, Arguments], dict[str, Any]]


class RefusedError(ValueError):
    """An API that was called rightly and has nothing to say: its words go into the response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    name: str
    kind: str
    """What goes in: `city`, `person`, `order`, ... A value of that kind fits, whoever gave it."""
    description: str
    type: str = "STRING"
    """ToolBench's word for it: STRING, NUMBER, BOOLEAN, ENUM."""
    default: str = ""

    @property
    def record(self) -> dict[str, str]:
        return {
            "name": self.name,
            "type": self.type,
            "description": self.description,
            "default": self.default,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One value of a response.

    Example: `Output(field="flight", kind="flight", pick="min:price", phrase="the cheapest flight
    from {origin} to {destination}")`
    """

    field: str
    kind: str
    phrase: str
    """A noun phrase; `{name}` stands for what was given for a parameter."""
    pick: str = ""
    """Empty: a field of the response. `min:x`, `max:x`: that of the result with the least or
    greatest `x`. `all`: that of every result, as a list."""

    def read(self, response: Any) -> Any:
        """The value in a response; None where it is missing, ambiguous or possibly cut off."""
        if not isinstance(response, dict):
            return None
        found = cast("dict[str, Any]", response)
        if not self.pick:
            return found.get(self.field)
        results = found.get("results")
        if not isinstance(results, list) or found.get("total") != len(cast("list[Any]", results)):
            return None
        rows = [cast("Row", row) for row in cast("list[Any]", results) if isinstance(row, dict)]
        if self.pick == "all":
            return [row.get(self.field) for row in rows] or None
        best, _, by = self.pick.partition(":")
        values: list[Any] = [row.get(by) for row in rows]
        numbers = all(isinstance(value, int | float) for value in values)
        if not values or not (numbers or all(isinstance(value, str) for value in values)):
            return None
        target = min(values) if best == "min" else max(values)
        return rows[values.index(target)].get(self.field) if values.count(target) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    category: str
    tool: str
    name: str
    """Unique among all APIs; the name that is called."""
    description: str
    required: tuple[Parameter, ...]
    outputs: tuple[Output, ...]
    reads: Mapping[str, tuple[str, ...]]
    """The columns of each table that it reads, what is asked for first: what a model must know."""
    run: Run = field(repr=False, compare=False)
    """Raises `RefusedError` where the tables hold no answer."""
    optional: tuple[Parameter, ...] = ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return self.required + self.optional

    def record(self, *, template: Any = None) -> dict[str, Any]:
        """The document in the fields of ToolBench's `api_list`."""
        return {
            "category_name": self.category,
            "tool_name": self.tool,
            "api_name": self.name,
            "api_description": self.description,
            "required_parameters": [parameter.record for parameter in self.required],
            "optional_parameters": [parameter.record for parameter in self.optional],
            "method": "GET",
            "template_response": template,
        }


def schema_of(value: Any) -> Any:
    """The types of a response, as ToolBench writes them in `template_response`."""
    if isinstance(value, dict):
        return {key: schema_of(inner) for key, inner in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if not items:
            return "empty list"
        if isinstance(items[0], dict):
            return [{**schema_of(items[0]), "_list_length": len(items)}]
        return [f"list of {type(items[0]).__name__} with length {len(items)}"]
    return type(value).__name__


def lookup(
    place: tuple[str, str],
    name: str,
    description: str,
    *,
    table: str,
    by: str,
    kind: str = "",
    says: Mapping[str, tuple[str, str]],
) -> Api:
    """An API that answers with some fields of the one row whose column `by` is what was asked.

    `place` is (category, tool); `says` gives each field of the answer its kind and phrase, in
    which `{}` stands for what was asked. `kind` is that of the parameter, `by` unless given.
    """

    def run(tables: Tables, arguments: Arguments) -> dict[str, Any]:
        row = _find(tables[table], column=by, value=arguments[by])
        return {column: row[column] for column in says}

    return Api(
        category=place[0],
        tool=place[1],
        name=name,
        description=description,
        required=(_parameter(by, kind=kind or by),),
        outputs=_outputs(says, parameter=by),
        reads={table: (by, *says)},
        run=run,
    )


def listing(
    place: tuple[str, str],
    name: str,
    description: str,
    *,
    table: str,
    by: str,
    kind: str = "",
    fields: Sequence[str],
    says: Sequence[tuple[str, str, str, str]],
) -> Api:
    """An API that answers with `fields` of all rows whose column `by` is what was asked.

    `says` holds (pick, field, kind, phrase) of each value to be found; see `Output`.
    """

    def run(tables: Tables, arguments: Arguments) -> dict[str, Any]:
        wanted = _same(arguments[by])
        rows = [row for row in tables[table] if _same(row[by]) == wanted]
        if not rows:
            raise RefusedError(f"nothing found for {by} {_short(arguments[by])}")
        return results(rows, fields=fields, limit=arguments.get("limit"))

    return Api(
        category=place[0],
        tool=place[1],
        name=name,
        description=description,
        required=(_parameter(by, kind=kind or by),),
        optional=(LIMIT,),
        outputs=tuple(
            Output(pick=pick, field=column, kind=kind_, phrase=phrase.replace("{}", f"{{{by}}}"))
            for pick, column, kind_, phrase in says
        ),
        reads={table: (by, *fields)},
        run=run,
    )


LIMIT = Parameter(
    name="limit",
    kind="limit",
    type="NUMBER",
    description=f"Results at most, up to {MAX_RESULTS}",
    default=str(_DEFAULT_RESULTS),
)


def results(rows: Sequence[Row], *, fields: Sequence[str], limit: Any = None) -> dict[str, Any]:
    """A listing's answer: the first rows, and how many there are in all."""
    num = _DEFAULT_RESULTS if limit is None else int(max(1, min(MAX_RESULTS, limit)))
    return {
        "total": len(rows),
        "results": [{column: row[column] for column in fields} for row in rows[:num]],
    }


def find(tables: Tables, *, table: str, column: str, value: Any) -> Row:
    """The row of a table. Raises `RefusedError`, in an API's words, if there is none."""
    return _find(tables[table], column=column, value=value)


def _find(rows: Sequence[Row], *, column: str, value: Any) -> Row:
    wanted = _same(value)
    for row in rows:
        if _same(row[column]) == wanted:
            return row
    raise RefusedError(f"no {column} {_short(value)}")


def _same(value: Any) -> str:
    return str(value).strip().casefold()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _parameter(name: str, *, kind: str) -> Parameter:
    return Parameter(name=name, kind=kind, description=PARAMETERS.get(kind, f"The {kind}"))


def _outputs(says: Mapping[str, tuple[str, str]], *, parameter: str) -> tuple[Output, ...]:
    return tuple(
        Output(field=column, kind=kind, phrase=phrase.replace("{}", f"{{{parameter}}}"))
        for column, (kind, phrase) in says.items()
    )


PARAMETERS: Mapping[str, str] = {
    "person": "Full name",
    "city": "Name of the city",
    "country": "Name of the country",
    "currency": "Currency code, three letters",
    "company": "Name of the company",
    "order": "Order number, such as O-100",
    "tracking": "Tracking number, such as T-100",
    "flight": "Flight number",
    "date": "Day as YYYY-MM-DD",
    "usd": "Amount in USD",
}
"""How a parameter of a kind is described; the others are `The <kind>`."""

__all__ = [
    "LIMIT",
    "MAX_RESULTS",
    "PARAMETERS",
    "Api",
    "Arguments",
    "Output",
    "Parameter",
    "RefusedError",
    "Run",
    "find",
    "listing",
    "lookup",
    "results",
    "schema_of",
]
