"""How configuration keys are declared: dataclass fields with a default, a help text and the allowed values.

The dataclasses with these fields are the only source of defaults; ``configs/*.yaml`` contain differences from them,
with the reasons. A configuration file may contain keys of several commands; each command takes its own. Nothing heavy
is imported here, so that ``--help`` is quick and preprocessing workers stay small.
"""

import math
from collections.abc import Iterable
from dataclasses import Field, field, fields, is_dataclass
from typing import Any, get_args

# Limits that several keys share: wide enough for every sensible setting, and finite, so that absurd values are refused.
LARGEST_SIDE = 8192  # height or width of a picture, pixels
MANY = 10**9  # updates or pairs
LARGEST_SEED = 2**63 - 1
LARGEST_WEIGHT = 1e6  # weight of a loss
WORKERS = 1024  # processes
MOST_NUMBERS = 1000  # numbers in a list


def option(
    default: Any,
    text: str,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    length: int | None = None,
    path: bool = False,
) -> Any:
    """Declare a configuration key as a dataclass field.

    Args:
        default: the key's default value.
        text: the help text that ``--help`` prints.
        choices: the allowed texts; empty: any text.
        minimum, maximum: limits of the number, or of every number in a list; required for keys that hold numbers.
        length: length of a list; None: 1 to ``MOST_NUMBERS``.
        path: whether the value is a path, or a dictionary of paths, in which ``~`` and environment variables are
            replaced.
    """
    metadata = {
        "help": text,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "length": length,
        "path": path,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def keys(schema: type, prefix: str = "") -> dict[str, Field[Any]]:
    """Return every dotted key of a schema with its dataclass field."""
    found: dict[str, Field[Any]] = {}
    for entry in fields(schema):
        if is_dataclass(entry.type):
            found.update(keys(entry.type, f"{prefix}{entry.name}."))  # type: ignore[arg-type]
        else:
            found[prefix + entry.name] = entry
    return found


def number_kind(kind: Any) -> type | None:
    """Return ``int`` or ``float`` if a key of this type holds a number or a list of numbers, else None."""
    parts = {kind, *get_args(kind), *(inner for part in get_args(kind) for inner in get_args(part))}
    return float if float in parts else int if int in parts else None


def require_ranges(schemas: Iterable[type]) -> None:
    """Raise TypeError for a numeric key without a finite range, since that key would accept NaN and infinity."""
    for schema in schemas:
        for key, entry in keys(schema).items():
            limits = [entry.metadata["minimum"], entry.metadata["maximum"]]
            if number_kind(entry.type) and not all(limit is not None and math.isfinite(limit) for limit in limits):
                raise TypeError(f"{schema.__name__}.{key}: a numeric option requires a finite minimum and maximum")


def allowed_values(entry: Field[Any]) -> str:
    """The values that a key allows: its choices, or the range of its numbers; empty where any value is allowed."""
    rule = entry.metadata
    if rule["choices"]:
        return " | ".join(rule["choices"])
    if number_kind(entry.type):
        return f"{_number(rule['minimum'])} to {_number(rule['maximum'])}"
    return ""


def as_typed(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
