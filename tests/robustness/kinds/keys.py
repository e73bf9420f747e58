"""Every key of every script set to values of every kind, on the command line and in YAML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from functools import partial
from typing import Any, get_args, get_type_hints

import yaml
from robustness.harness import Bench, Case, Verdict, judged, run_script

from siftvton.commands import schemas

# Name -> the value as typed after the `=`, or as YAML.
NUMBERS = {
    "NaN": ".nan",
    "infinity": ".inf",
    "minus infinity": "-.inf",
    "nan as text": "nan",
    "overflow": "1e400",
    "minus one": "-1",
    "zero": "0",
    "half": "0.5",
    "huge": "1" + "0" * 30,
    "true": "true",
    "list with NaN": "[.nan, 8]",
}
OTHERS = {
    "inf as text": "inf",
    "tiny": "1e-300",
    "text": "nonsense",
    "empty": "",
    "quoted number": "'3'",
    "null": "null",
    "list": "[1, 2]",
    "list of texts": "[a, b]",
    "empty list": "[]",
    "mapping": "{a: 1}",
    "interpolation": "${nope}",
    "own interpolation": "${output}",
    "missing mark": "???",
    "unicode": "ÿ∞☃",
    "date": "2024-99-99",
    "tag": "!!int x",
    "code": "!!python/object/apply:os.system [touch canary]",
    "open bracket": "[1, 2",
    "tab": "\t",
}
EMPTY = ("", "null", "\t")
SHARE = 4  # each key gets one in four of the other values; the keys take turns
NAMES = {  # key -> a typing mistake
    "without its last letter": lambda key: key[:-1],
    "in capitals": lambda key: key.upper(),
    "with a dash": lambda key: key.replace("_", "-") + "-",
    "with an entry": lambda key: f"{key}.x",
}


def cases() -> Iterator[Case]:
    for script, schema in schemas().items():
        for place, (key, entry) in enumerate(_keys(schema).items()):
            text_key = entry[0] in (str, str | None)
            turn = list(OTHERS.items())[place % SHARE :: SHARE]
            for number, (name, text) in enumerate([*({} if text_key else NUMBERS).items(), *turn]):
                where = ("command line", "YAML")[(place + number) % 2]
                yield Case(f"keys: {where}", f"{script} {key} {name}", partial(_value, script, key, entry, text, where))
        for key in list(_keys(schema))[::SHARE]:
            for name, change in NAMES.items():
                yield Case("keys: names", f"{script} {key} {name}", partial(_name, script, change(key)))


def _keys(schema: type, prefix: str = "") -> dict[str, tuple[Any, Field]]:
    """The type and the dataclass field of each dotted key."""
    hints = get_type_hints(schema)
    found = {}
    for entry in fields(schema):
        kind = hints[entry.name]
        if is_dataclass(kind):
            found |= _keys(kind, f"{prefix}{entry.name}.")
        else:
            found[prefix + entry.name] = kind, entry
    return found


def _dry_run(bench: Bench, script: str, *arguments: str) -> Any:
    empty = bench.file("empty.yaml", "output: output\n")
    return run_script(script, "--config", str(empty), "--dry-run", *arguments)


def _value(script: str, key: str, entry: tuple[Any, Field], text: str, where: str, bench: Bench) -> Verdict:
    kind, field = entry
    if where == "YAML":
        path = bench.file("mine.yaml", "".join(_nested(key.split("."), text)))
        finished = run_script(script, "--config", str(path), "--dry-run")
    else:
        finished = _dry_run(bench, script, f"{key}={text}")

    def difference() -> str:
        shown = yaml.safe_load(finished.out)
        for part in key.split("."):
            shown = shown[part]
        return _misread(kind, field, text, shown)

    return judged(finished, [key, "mine.yaml"] if where == "YAML" else [key], difference)


def _nested(parts: list[str], text: str) -> Iterator[str]:
    for depth, part in enumerate(parts):
        yield f"{'  ' * depth}{part}:{f' {text}' if depth == len(parts) - 1 else ''}\n"


def _misread(kind: Any, field: Field, text: str, shown: Any) -> str:
    """What is wrong with a value that was accepted, or an empty text."""
    rule = field.metadata
    if kind in (str, str | None):
        expected = [text.strip(), *([None] if text in EMPTY else []), "3" if text == "'3'" else text]
        resolved = text == "${output}" and isinstance(shown, str)
        # A mapping in a file can belong to another script that has a dictionary under the same key.
        allowed = shown in expected or resolved or text == "{a: 1}"
        return "" if allowed and shown in (rule["choices"] or [shown]) else f"{text!r} became {shown!r}"
    if kind == dict[str, str]:
        return (
            "" if isinstance(shown, dict) and all(isinstance(v, str) for v in shown.values()) else f"became {shown!r}"
        )
    if shown is None:
        return "" if type(None) in get_args(kind) and text in EMPTY else f"{text!r} became null"
    given = yaml.safe_load(text)
    if isinstance(given, str):
        given = float(given) if _is_number(given) else given
    numbers, wanted = (value if isinstance(value, list) else [value] for value in (shown, given))
    if [str(value) for value in numbers] != [str(value) for value in wanted] and numbers != [float(v) for v in wanted]:
        return f"{text!r} became {shown!r}"
    if any(isinstance(value, bool) for value in wanted) != (kind is bool) and kind is not bool:
        return f"the truth value {text!r} became the number {shown!r}"
    if any(isinstance(value, float) and not math.isfinite(value) for value in numbers):
        return f"{shown!r} is no number to compute with"
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _name(script: str, name: str, bench: Bench) -> Verdict:
    """A key that does not exist; but `<key>.x` exists if the key is a dictionary."""
    return judged(_dry_run(bench, script, f"{name}=x"), [name], lambda: "" if name.endswith(".x") else "accepted")
