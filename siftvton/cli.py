"""What every script shares: ``--config``, ``--dry-run``, ``--help``, ``key=value`` overrides, one-line errors."""

import argparse
import difflib
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from siftvton.config import SCRIPTS
from siftvton.errors import InputError, UsageError
from siftvton.files import write_text
from siftvton.memory import keep_freed_memory

C = TypeVar("C")

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def run(
    main: Callable[[Any], None], schema: type, default: str, summary: Callable[[Any], str] | None = None
) -> NoReturn:
    """Parse the command line, build the configuration, call ``main`` with it and exit.

    Args:
        schema: the script's dataclass in :mod:`siftvton.config`.
        default: the file in ``configs/`` that is read where ``--config`` is not given.
        summary: what ``--dry-run`` says of the configuration besides, as YAML comments.
    """
    parser = _Parser(add_help=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--config", default=str(CONFIGS / default))
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    try:
        arguments = parser.parse_intermixed_args()
        config: Any = load(schema, arguments.config, arguments.overrides)
        if arguments.help:
            print(_help(schema, config, parser.prog, default))
        elif arguments.dry_run:
            print(OmegaConf.to_yaml(OmegaConf.structured(config)), end="")
            if summary is not None:
                print("\n".join(f"# {line}" for line in summary(config).splitlines()))
        else:
            keep_freed_memory()
            main(config)
    except InputError as error:
        # A data loader's worker hands its error on inside a traceback's text.
        message = str(error).strip().rpartition(f"{type(error).__name__}: ")[2]
        print(f"{parser.prog}: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(f"{parser.prog}: stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --help lists what there is")


def load(schema: type[C], path: str | Path, overrides: list[str] | None = None) -> C:
    """The schema's defaults, then the file, then the overrides.

    Raises:
        UsageError: the file is missing or not YAML; a key is unknown; a value has a wrong type or is not allowed.
    """
    config: DictConfig = OmegaConf.structured(schema)
    known = {key for other in SCRIPTS.values() for key in _keys(other)}
    for key, value in _file_values(Path(path)):
        if key in _keys(schema) or _free_parent(schema, key):
            if _is_text(schema, key) and not isinstance(value, str | None):
                raise UsageError(f"{path}: {key}={value}: text is wanted; put it in quotes")
            _set(config, key, value, str(path))
        elif key not in known and not any(_free_parent(other, key) for other in SCRIPTS.values()):
            raise UsageError(f"{path}: unknown key {key}{_nearest(key, known)}")
    for override in overrides or []:
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(f"{override!r} is not key=value")
        if key not in _keys(schema) and not _free_parent(schema, key):
            raise UsageError(f"unknown key {key}{_nearest(key, _keys(schema))}; --help lists all")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"{override!r}: the value is not YAML") from error
        # Text is taken as it is: YAML reads the id 00006_00 as the octal number 384.
        _set(config, key, text if _is_text(schema, key) and value is not None else value, "command line")
    _check_allowed(schema, config)
    return OmegaConf.to_object(config)  # type: ignore[return-value]


def save(config: Any, path: str | Path) -> None:
    """Write a resolved configuration as YAML; given to ``--config``, it repeats the run."""
    write_text(path, OmegaConf.to_yaml(OmegaConf.structured(config)))


def differences(config: Any, path: str | Path) -> list[str]:
    """Where the configuration saved at ``path`` differs from ``config``: ``key: saved -> now``, one a line."""
    saved = dict(_file_values(Path(path)))
    now = {key: OmegaConf.select(OmegaConf.structured(config), key) for key in _keys(type(config))}
    now = {key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value for key, value in now.items()}
    return [f"{key}: {saved[key]} -> {now[key]}" for key in now if key in saved and saved[key] != now[key]]


def _file_values(path: Path) -> Iterator[tuple[str, Any]]:
    """The file's leaves as (dotted key, value); a file named by its top-level key ``base`` comes first."""
    if not path.is_file():
        raise UsageError(f"--config {path}: no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: holds no keys; wanted lines such as 'output: outputs/train'")
    if "base" in content:
        yield from _file_values(path.parent / str(content.pop("base")))
    yield from _leaves(content)


def _leaves(content: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _keys(schema: type, prefix: str = "") -> dict[str, Any]:
    """Every dotted key of a schema and its dataclass field."""
    keys = {}
    for entry in fields(schema):
        if is_dataclass(entry.type):
            keys.update(_keys(entry.type, f"{prefix}{entry.name}."))  # type: ignore[arg-type]
        else:
            keys[prefix + entry.name] = entry
    return keys


def _free_parent(schema: type, key: str) -> bool:
    """Whether ``key`` is an entry of a dictionary key, e.g. ``predictions.ours`` of ``predictions``."""
    parent, dot, _ = key.partition(".")
    entry = _keys(schema).get(parent)
    return bool(dot) and entry is not None and str(entry.type).startswith("dict")


def _is_text(schema: type, key: str) -> bool:
    """Whether a key of the schema, or an entry of one of its dictionaries, holds a string."""
    entry = _keys(schema).get(key) or _keys(schema)[key.partition(".")[0]]
    return entry.type in (str, str | None, dict[str, str])


def _set(config: DictConfig, key: str, value: Any, where: str) -> None:
    try:
        OmegaConf.update(config, key, value)
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{where}: {key}={value}: {reason}") from error


def _nearest(key: str, known: Iterable[str]) -> str:
    """The likeliest valid name: alike as a whole, or by its last word, or by that word's initials."""

    def likeness(name: str) -> float:
        word, own = key.rpartition(".")[2], name.rpartition(".")[2]
        initials = "".join(part[0] for part in own.split("_"))
        last = max(difflib.SequenceMatcher(None, word, own).ratio(), 0.9 * (word == initials))
        return last + difflib.SequenceMatcher(None, key, name).ratio()

    return f"; did you mean {max(sorted(known), key=likeness)}?"


def _check_allowed(schema: type, config: DictConfig) -> None:
    for key, entry in _keys(schema).items():
        value, rule = OmegaConf.select(config, key), entry.metadata
        if rule["choices"] and value not in rule["choices"]:
            raise UsageError(f"{key}={value}: allowed are {', '.join(rule['choices'])}")
        if OmegaConf.is_list(value) and len(value) != (rule["length"] or len(value) or 1):
            raise UsageError(f"{key}={value}: {rule['length'] or 'some'} numbers are wanted")
        for number in value if OmegaConf.is_list(value) else [value]:
            if number is None:
                continue
            if rule["minimum"] is not None and not number >= rule["minimum"]:
                raise UsageError(f"{key}={value}: at least {rule['minimum']} is allowed")
            if rule["maximum"] is not None and not number <= rule["maximum"]:
                raise UsageError(f"{key}={value}: at most {rule['maximum']} is allowed")


def _help(schema: type, config: Any, program: str, default: str) -> str:
    lines = [
        schema.__doc__ or "",
        "",
        f"usage: {program} [--config FILE] [--dry-run] [key=value ...]",
        "",
        f"  --config FILE  YAML with keys as below; default configs/{default}",
        "  --dry-run      print the resolved configuration, touch nothing",
        "",
        "keys (as the configuration sets them):",
    ]
    for key, entry in _keys(schema).items():
        value = OmegaConf.select(OmegaConf.structured(config), key)
        rule = entry.metadata
        allowed = f" ({' | '.join(rule['choices'])})" if rule["choices"] else ""
        lines.append(f"  {key}={'null' if value is None else value}\n      {rule['help']}{allowed}")
    return "\n".join(lines)
