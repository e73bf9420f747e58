"""Read configurations from files and command lines, check every key, save and compare configurations."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, asdict
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from omegaconf import OmegaConf

from siftvton.errors import UsageError
from siftvton.key_values import LONGEST_SHOWN, converted, either, escaped, expanded, require_allowed, shipped, shown
from siftvton.options import keys
from siftvton.plain_yaml import NULLS, PlainYamlError, parse

C = TypeVar("C")

LARGEST_FILE = 2**20  # bytes
LINE_BREAKS = "\x85\u2028\u2029"  # YAML 1.1 takes these for line breaks, too
COMMAND_LINE = "command line"
_INTERPOLATION = re.compile(r"(\\*)\$\{")


def _is_dictionary(entry: Field[Any]) -> bool:
    return get_origin(entry.type) is dict


class KnownKeys:
    """The sections and dictionaries that a file may contain, according to several schemas.

    Attributes:
        schemas: the schemas; a file may contain the keys of all of them.
        sections: dotted name of a section -> one of its keys, as an example.
        dictionaries: keys that hold entries with names of the user's choice, in at least one schema.
    """

    def __init__(self, schemas: Sequence[type]) -> None:
        entries = [(key, entry) for schema in schemas for key, entry in keys(schema).items()]
        self.schemas = schemas
        self.sections = {key.rpartition(".")[0]: key for key, _ in entries if "." in key}
        self.dictionaries = {key for key, entry in entries if _is_dictionary(entry)}


def load_configuration(
    schema: type[C], path: str | Path, overrides: Sequence[str] = (), others: Mapping[str, type] | None = None
) -> C:
    """Take the schema's defaults, then the values of the file, then the overrides.

    Args:
        schema: the configuration's dataclass.
        path: the YAML file.
        overrides: ``key=value`` texts from the command line.
        others: schemas of all commands, by the command's name; the file may also contain their keys.

    Raises:
        UsageError: the file is missing or not YAML; a key is unknown; a value has a wrong type or is not allowed.
    """
    values: dict[str, Any] = {}
    others = others or {}
    known = KnownKeys((schema, *others.values()))
    for key, value, where in _file_values(Path(path), known):
        if _entry(schema, key):
            _accept(values, schema, key, value, where)
        elif not any(_entry(other, key) for other in others.values()):
            names = {key for each in known.schemas for key in keys(each)}
            raise UsageError(f"{where}: unknown key {shown(key)}{_nearest(key, names)}")
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UsageError(
                f"{shown(override)!r} is not key=value; give a key and its value, e.g. output=outputs/mine"
            )
        if key != key.strip():
            raise UsageError(f"{shown(override)!r} is not allowed; write key=value without spaces")
        entry = _entry(schema, key)
        if entry is None:
            raise UsageError(f"unknown key {shown(key)}{_remedy(key, schema, others)} --help lists all keys")
        _accept(values, schema, key, _from_command_line(entry[0], key, text), COMMAND_LINE)
    return _built(schema, values)


def save_configuration(config: Any, path: str | Path) -> None:
    """Write a resolved configuration as YAML; ``--config`` with that file repeats the run."""
    from siftvton.files import write_text  # here: --help does without OpenCV

    write_text(path, to_yaml(config))


def to_yaml(config: Any) -> str:
    """Return the text of a configuration file that contains this configuration."""
    content = asdict(config)
    for key, entry in keys(type(config)).items():
        if entry.metadata["path"]:
            *sections, name = key.split(".")
            section: dict[str, Any] = content
            for each in sections:
                section = section[each]
            section[name] = escaped(section[name])
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10**6)
    if any(character in text for character in LINE_BREAKS):  # YAML would read them back as "\n": escape them
        text = yaml.safe_dump(content, sort_keys=False, width=10**6)
    return text


def differences(config: Any, path: str | Path, older: Mapping[str, Any] | None = None) -> list[str]:
    """List where the configuration saved at ``path`` differs from ``config``, each as ``key: saved -> now``.

    Args:
        config: the configuration of now.
        path: the saved one.
        older: values of keys that files of older versions lack; any other key that the file lacks is not compared.
    """
    schema = type(config)
    saved = dict(older or {})
    for key, value, where in _file_values(Path(path), KnownKeys([schema])):
        if _entry(schema, key):
            _take(saved, schema, key, value, where)
    now = {key: _value(config, key) for key in keys(schema)}
    changed = [key for key in now if key in saved and saved[key] != now[key]]
    return [f"{key}: {_as_written(saved[key])} -> {_as_written(now[key])}" for key in changed]


def _as_written(value: Any) -> Any:
    """Return a value as configuration files write it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else value


def values(config: Any) -> Iterator[tuple[str, Any, Field[Any]]]:
    """Yield each dotted key of a configuration with its value and its dataclass field."""
    for key, entry in keys(type(config)).items():
        yield key, _value(config, key), entry


def _value(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def _built(schema: type[C], values: dict[str, Any]) -> C:
    """Build the configuration from ``values``, by dotted key; the other keys have the schema's defaults."""
    config = OmegaConf.structured(schema)
    for key, entry in keys(schema).items():
        if key in values:
            OmegaConf.update(config, key, _uninterpolated(values[key]), merge=False)
        elif entry.metadata["path"] and isinstance(entry.default, str):
            OmegaConf.update(config, key, _uninterpolated(shipped(entry.default)), merge=False)
    return OmegaConf.to_object(config)  # type: ignore[return-value]


def _uninterpolated(value: Any) -> Any:
    """Escape ``${`` in a text or a dictionary of texts, so that OmegaConf does not interpolate it."""
    if isinstance(value, dict):
        return {name: _uninterpolated(each) for name, each in value.items()}
    return _INTERPOLATION.sub(r"\1\1\\${", value) if isinstance(value, str) else value


def _file_values(path: Path, known: KnownKeys, above: tuple[Path, ...] = ()) -> Iterator[tuple[str, Any, str]]:
    """Yield the file's leaves as (dotted key, value, file); those of the file that ``base`` names come first."""
    path = Path(shipped(str(path)))
    named = f"{above[-1]}: base: " if above else "--config "
    content = _read(path, named)
    base = content.pop("base", None)
    if base is not None:
        if not isinstance(base, str):
            raise UsageError(f"{path}: base={shown(base)} is not allowed; use the path of a YAML file")
        if path.resolve() in (each.resolve() for each in above):
            raise UsageError(f"{path}: base={base} leads back to this file; name another base, or remove it")
        yield from _file_values(path.parent / expanded(base, f"{path}: base={base}"), known, (*above, path))
    seen: set[str] = set()
    for key, value in _leaves(content, str(path), known):
        if key in seen:
            raise UsageError(f"{path}: {key} is given twice; keep one")
        seen.add(key)
        yield key, value, str(path)


def _read(path: Path, named: str) -> dict[str, Any]:
    """Return the content of one file. If the file is missing, the error puts ``named`` before its path."""
    if not path.is_file():
        found = "is not a file" if path.exists() else f"no such file (looked in {Path.cwd()})"
        raise UsageError(f"{named}{path}: {found}; name a YAML file")
    if path.stat().st_size > LARGEST_FILE:
        raise UsageError(f"{path}: is larger than {LARGEST_FILE // 2**20} MiB; name a configuration file")
    data = path.read_bytes()
    try:
        content = parse(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        form = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8 text"
        raise UsageError(f"{path}: the file is {form}; save it as UTF-8") from error
    except PlainYamlError as error:
        raise UsageError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: contains no keys; write lines such as 'output: outputs/train'")
    return content


def _leaves(content: dict[str, Any], path: str, known: KnownKeys, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys and values of sections and dictionaries; an empty section has none."""
    for name, value in content.items():
        key = prefix + name
        if key in known.sections:
            if not isinstance(value, dict | None):
                raise UsageError(
                    f"{path}: {key}={shown(value)}: {key} is a section; give its keys, e.g. {known.sections[key]}"
                )
            yield from _leaves(value or {}, path, known, f"{key}.")
        elif isinstance(value, dict) and key in known.dictionaries:
            yield from ((f"{key}.{entry}", each) for entry, each in value.items())
        elif isinstance(value, dict) and value:
            yield from _leaves(value, path, known, f"{key}.")
        else:
            yield key, value


def _entry(schema: type, key: str) -> tuple[Field[Any], str | None] | None:
    """Return a key's field, and the entry's name where the key names an entry of a dictionary; None: unknown key."""
    known = keys(schema)
    if key in known:
        return known[key], None
    for parent, entry in known.items():
        if _is_dictionary(entry) and key.startswith(f"{parent}."):
            return entry, key.removeprefix(f"{parent}.")
    return None


def _take(values: dict[str, Any], schema: type, key: str, value: Any, where: str) -> None:
    """Convert a value to its key's type and store it by dotted key; entries go into their dictionary."""
    found = _entry(schema, key)
    assert found is not None
    entry, name = found
    where = f"{where}: {shown(key)}={shown(value)}"
    if name:
        entries = values.setdefault(key.removesuffix(f".{name}"), {})
        entries[name] = converted(entry, get_args(entry.type)[1], value, where)
    elif not _is_dictionary(entry):
        values[key] = converted(entry, entry.type, value, where)
    elif name is None and not value:  # {} or null
        values[key] = {}
    else:
        raise UsageError(f"{where} is not allowed; give each entry a name, {entry.name}.<name>=…")


def _accept(values: dict[str, Any], schema: type, key: str, value: Any, where: str) -> None:
    """Convert and store a value; refuse a value that its key does not allow."""
    _take(values, schema, key, value, where)
    if key in keys(schema):
        require_allowed(keys(schema)[key], values[key], f"{where}: {key}={shown(value)}")


def _from_command_line(entry: Field[Any], key: str, text: str) -> Any:
    """Return a value as a file would give it: text stays as it is, and only a list is parsed as YAML."""
    if text in NULLS and (text or "None" in str(entry.type) or entry.metadata["path"]):
        return None
    if "list" not in str(entry.type):
        return text
    try:
        return parse(text)
    except PlainYamlError as error:
        raise UsageError(f"{COMMAND_LINE}: {key}={shown(text)} is not YAML ({error}); use e.g. [1, 2]") from error


def _remedy(key: str, schema: type, others: Mapping[str, type]) -> str:
    """Say what an unknown key is: a section, a key of another command, or a misspelt key of this command."""
    inside = next((name for name in keys(schema) if name.startswith(f"{key}.")), None)
    if inside:
        return f"; it is a section, so name one of its keys, e.g. {inside};"
    owners = [name for name, other in others.items() if key in keys(other)]
    last = key.rpartition(".")[2]
    if owners and not any(name.rpartition(".")[2] == last for name in keys(schema)):
        return f"; it is a key of {either(owners)}, not of this command;"
    return _nearest(key, keys(schema))


def _nearest(key: str, known: Iterable[str]) -> str:
    """Suggest the most similar valid key, judged by the whole key, its last word and that word's initials."""
    key = key[:LONGEST_SHOWN]

    def likeness(name: str) -> float:
        word, own = key.rpartition(".")[2], name.rpartition(".")[2]
        initials = "".join(part[0] for part in own.split("_"))
        last = max(difflib.SequenceMatcher(None, word, own).ratio(), 0.9 * (word == initials))
        return last + difflib.SequenceMatcher(None, key, name).ratio()

    return f"; did you mean {max(sorted(known), key=likeness)}?"
