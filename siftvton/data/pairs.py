"""Pairs of a person and a garment: what they are called, their lists, and who tries what on."""

import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from siftvton.data.match_folder import MATCHES_ENDING
from siftvton.errors import InputError, UsageError
from siftvton.files import read_bytes

LONGEST_NAME = 255  # bytes that file systems allow
# Windows gives these names to devices, whatever the suffix.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


@dataclass(frozen=True)
class Pair:
    """A person's picture and a garment's, by their file names.

    The names without their suffixes are the ids, and only these tell persons, garments and results apart.
    """

    person: str
    garment: str

    @property
    def person_id(self) -> str:
        return Path(self.person).stem

    @property
    def garment_id(self) -> str:
        return Path(self.garment).stem

    @property
    def result_id(self) -> str:
        """What a try-on result of this pair is called, without the suffix."""
        return f"{self.person_id}_{self.garment_id}"


def read_pairs(path: str | Path) -> list[Pair]:
    """Read a pair list, one ``person.jpg garment.jpg`` a line; a pair that is listed again counts once.

    Raises:
        InputError: the file is missing or empty; a line is not two plain file names; or names collide, as
            :func:`_check_names` says.
    """
    return require_unique_names(listed_pairs(Path(path)))


def listed_pairs(path: Path) -> dict[Pair, str]:
    """The pairs of a list, each with its place for messages: the list and the line."""
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such pair list; write one 'person.jpg garment.jpg' a line")
    content = read_bytes(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: is saved as UTF-16; save it as UTF-8")
    pairs: dict[Pair, str] = {}
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf")), start=1):
        place = f"{path}, line {number}"
        try:
            names = line.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise InputError(f"{place}: is not UTF-8; save the list as UTF-8") from error
        if not names:
            continue
        if len(names) != 2 or any(Path(name).name != name or not Path(name).suffix for name in names):
            raise InputError(f"{place}: {' '.join(names)[:200]!r} is not two file names 'person.jpg garment.jpg'")
        pair = Pair(*names)
        for name in names:
            _check_name(name, place)
        pairs.setdefault(pair, place)
    if not pairs:
        raise InputError(f"{path}: holds no pair; write one 'person.jpg garment.jpg' a line")
    return pairs


def _check_name(name: str, place: str) -> None:
    """Refuse what some file system cannot hold, and what nobody can see.

    Raises:
        InputError: a name with its place.
    """
    trouble = None
    if not name.isprintable():
        trouble = f"has an invisible character (U+{ord(next(c for c in name if not c.isprintable())):04X})"
    elif "\\" in name:
        trouble = "has a backslash; list names without folders"
    elif Path(name).stem.endswith((".", " ")):
        trouble = "has a dot before its suffix, which Windows drops"
    elif name.partition(".")[0].casefold() in DEVICES:
        trouble = "is a device on Windows"
    elif len(os.fsencode(Path(name).stem)) + len(MATCHES_ENDING) > LONGEST_NAME:
        trouble = "is too long"
    if trouble:
        raise InputError(f"{place}: {name!r:.80} {trouble}; rename the file")


def _key(name: str) -> str:
    """What file systems compare: neither case nor the way that accents are encoded tells two files apart."""
    return unicodedata.normalize("NFC", name).casefold()


def require_unique_names(listed: Mapping[Pair, str]) -> list[Pair]:
    """The pairs, once no two of them share a name that must be their own.

    Files are named after ids, so two persons must not have one id, nor two garments, nor two results. Where ids
    differ only in case or in the encoding of accents, a case-insensitive file system makes them one.

    Args:
        listed: pair -> its place in a list, for the message.

    Raises:
        InputError: names collide, or a result's name would be too long.
    """
    persons: dict[str, tuple[str, str]] = {}
    garments: dict[str, tuple[str, str]] = {}
    ids: dict[str, tuple[str, str]] = {}
    results: dict[str, tuple[str, str]] = {}
    for pair, place in listed.items():
        if len(os.fsencode(f"{pair.result_id}.png")) > LONGEST_NAME:
            raise InputError(
                f"{place}: the result would have a name of more than {LONGEST_NAME} bytes; shorten the ids"
            )
        for seen, owner, name in (
            (persons, pair.person, pair.person_id),
            (garments, pair.garment, pair.garment_id),
            (ids, pair.person_id, pair.person_id),
            (ids, pair.garment_id, pair.garment_id),
            (results, f"{pair.person} {pair.garment}", pair.result_id),
        ):
            other, before = seen.setdefault(_key(name), (owner, place))
            if other != owner:
                what = "their results' name" if seen is results else "their name without suffix, whatever the case"
                raise InputError(f"{place}: {owner} and {other} ({before}) share {what}; rename one")
    return list(listed)


def in_setting(pairs: Sequence[Pair], setting: str, worn_garment: Callable[[str], str]) -> list[Pair]:
    """The pairs as tried on, each once.

    Args:
        setting: ``paired`` takes the garment that the person wears; ``unpaired`` takes the second column or, in a list
            that names nobody else's garment (a training list), the next person's.
        worn_garment: a person's file name -> the worn garment's.

    Raises:
        UsageError: there is no such setting.
        InputError: two results would have one name.
    """
    if setting not in ("paired", "unpaired"):
        raise UsageError(f"setting={setting} is not allowed; use paired or unpaired")
    worn = {pair: Path(worn_garment(pair.person)).stem == pair.garment_id for pair in pairs}
    own = {pair.person_id: pair.garment for pair in pairs if worn[pair]}
    if setting == "paired":
        tried = [Pair(pair.person, own.get(pair.person_id, worn_garment(pair.person))) for pair in pairs]
    elif all(worn.values()):
        tried = [Pair(pair.person, pairs[(place + 1) % len(pairs)].garment) for place, pair in enumerate(pairs)]
    else:
        tried = list(pairs)
    return require_unique_names(dict.fromkeys(tried, "the pair list"))
