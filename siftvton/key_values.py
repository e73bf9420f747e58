"""The value of a key: convert what a file or a command line gives, check it, and show it in a message."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import Field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from siftvton.errors import UsageError
from siftvton.options import MOST_NUMBERS, number_kind

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE if (_PACKAGE / "configs").is_dir() else _PACKAGE.parent  # an installed wheel, or a checkout
SHIPPED = ("configs/", "checkpoints/toy")  # found from any folder
BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
SCALARS: dict[type, tuple[Callable[[str], Any], str]] = {
    bool: (lambda text: BOOLEANS[text.lower()], "true or false"),
    int: (int, "a whole number"),
    float: (float, "a number"),
}
LONGEST_SHOWN = 100  # characters of a value that a message shows
_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<braced>[^}]*)\}?|(?P<named>[A-Za-z_][A-Za-z0-9_]*))")


def converted(entry: Field[Any], kind: Any, value: Any, where: str) -> Any:
    """Convert a text, null or a list of texts to a value of ``kind``."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None
    if value is None:
        raise UsageError(f"{where} is not allowed; give a value")
    if kinds[0] is str:
        return _text(entry, value, where)
    if get_origin(kinds[0]) is list:
        if not isinstance(value, list):
            raise UsageError(f"{where} is not allowed; use a list of numbers, e.g. [1, 2]")
        return [_scalar(get_args(kinds[0])[0], each, where) for each in value]
    return _scalar(kinds[0], value, where)


def _scalar(kind: type, value: Any, where: str) -> bool | int | float:
    read, words = SCALARS[kind]
    try:
        if isinstance(value, str):
            return read(value)
    except (ValueError, KeyError):
        pass
    raise UsageError(f"{where} is not allowed; use {words}")


def _text(entry: Field[Any], value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where} is not allowed; use plain text")
    if value == "???":  # OmegaConf's mark for a missing value
        raise UsageError(f"{where} is not allowed, since ??? stands for a missing value; give the value")
    if "\0" in value or not _is_unicode(value):
        raise UsageError(f"{where} contains a null character, or bytes that are not UTF-8; remove them")
    if not entry.metadata["path"]:
        return value
    if not value:
        raise UsageError(f"{where}: the path is empty; give a path")
    if value != value.strip():  # e.g. the carriage return of a shell script with Windows line ends
        raise UsageError(f"{where}: the path begins or ends with a space or a line break; remove it")
    path = expanded(value, where)
    return path if entry.name == "output" else shipped(path)


def _is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; Python keeps other bytes of a command line as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def expanded(text: str, where: str) -> str:
    """Replace ``~`` and environment variables in a path, without expanding their values again; ``$$`` gives ``$``."""

    def value_of(match: re.Match[str]) -> str:
        name = match["braced"] or match["named"]
        if match["escaped"]:
            return "$"
        if not os.environ.get(name or ""):
            raise UsageError(
                f"{where}: the environment variable {shown(name)} is not set; set it, or write $$ for a plain $"
            )
        return os.environ[name]

    home = ""
    if text.startswith("~"):
        user = text.partition("/")[0]
        home, text = os.path.expanduser(user), text.removeprefix(user)
        if home == user or (user == "~" and os.environ.get("HOME") == ""):
            raise UsageError(
                f"{where}: no home folder is known for {shown(user)}; write ./{shown(user)} for a folder of that name"
            )
    return home + _VARIABLE.sub(value_of, text)


def escaped(value: Any) -> Any:
    """Escape a path, or a dictionary of paths, so that :func:`expanded` returns it unchanged."""
    if isinstance(value, dict):
        return {name: escaped(path) for name, path in value.items()}
    return value.replace("$", "$$") if isinstance(value, str) else value


def shipped(path: str) -> str:
    """Find a path that ships with the code from any folder; every other path starts from the current folder."""
    there = ROOT / path
    return str(there) if path.startswith(SHIPPED) and not os.path.exists(path) and os.path.exists(there) else path


def require_allowed(entry: Field[Any], value: Any, where: str) -> None:
    rule = entry.metadata
    if rule["choices"] and value not in rule["choices"]:
        raise UsageError(f"{where} is not allowed; use {either(rule['choices'])}")
    if number_kind(entry.type) is None or value is None:
        return
    if isinstance(value, list) and rule["length"] and len(value) != rule["length"]:
        raise UsageError(f"{where} is not allowed; use {rule['length']} numbers")
    if isinstance(value, list) and not 1 <= len(value) <= MOST_NUMBERS:
        raise UsageError(f"{where} is not allowed; use 1 to {MOST_NUMBERS} numbers")
    of_list = "numbers of " if isinstance(value, list) else ""
    for number in value if isinstance(value, list) else [value]:
        if not number >= rule["minimum"]:  # true for NaN
            raise UsageError(f"{where} is not allowed; use {of_list}{rule['minimum']} or more")
        if not number <= rule["maximum"]:
            raise UsageError(f"{where} is not allowed; use {of_list}{rule['maximum']} or less")


def either(choices: Sequence[str]) -> str:
    """Join choices for a message: ``train, validation or test``."""
    return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))


def shown(value: Any) -> str:
    """Return a value or a key as one line of limited length, for a message."""
    if isinstance(value, list):
        text = f"[{', '.join(map(shown, value))}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{key}: {shown(each)}' for key, each in value.items())}}}"
    else:
        text = "null" if value is None else str(value)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
