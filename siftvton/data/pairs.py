"""Pairs of a person and a garment: their names, pair lists, and which garment each person tries on."""

import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from siftvton.data.match_folder import MATCHES_ENDING
from siftvton.errors import InputError, UsageError
from siftvton.files import read_bytes

LINE = "person.jpg garment.jpg"  # what a line of a pair list looks like
LONGEST_NAME = 255  # bytes that file systems allow in a name
# On Windows, these are names of devices, whatever the suffix.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


@dataclass(frozen=True)
class Pair:
    """The file names of a person's picture and of a garment's picture.

    The names without suffixes are the ids. Persons, garments and results are told apart only by their ids.
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
        """The name of the pair's try-on result, without the suffix."""
        return f"{self.person_id}_{self.garment_id}"


def read_pairs(path: str | Path) -> list[Pair]:
    """Read a pair list with one ``person.jpg garment.jpg`` on each line; a pair that is listed again counts once.

    Raises:
        InputError: the file is missing or empty; a line is not two plain file names; or names collide, see
            :func:`require_unique_names`.
    """
    return require_unique_names(listed_pairs(Path(path)))


def listed_pairs(path: Path) -> dict[Pair, str]:
    """Read the pairs of a list, each with its place for messages: the list and the line."""
    pairs: dict[Pair, str] = {}
    for place, words in listed_lines(path):
        pairs.setdefault(pair_of(words, place), place)
    return pairs


def listed_lines(path: Path, form: str = LINE) -> list[tuple[str, list[str]]]:
    """Read a list: the place and the words of each line that is not empty.

    Args:
        path: the list.
        form: what a line looks like, for messages.

    Raises:
        InputError: the list is missing or empty, or is not UTF-8.
    """
    if not os.path.lexists(path):
        raise InputError(f"{path}: no such pair list; write one {form!r} on each line")
    content = read_bytes(path)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: is saved as UTF-16; save it as UTF-8")
    lines = []
    for number, line in enumerate(re.split(rb"\r\n|\r|\n", content.removeprefix(b"\xef\xbb\xbf")), start=1):
        place = f"{path}, line {number}"
        try:
            words = line.decode("utf-8").split()
        except UnicodeDecodeError as error:
            raise InputError(f"{place}: is not UTF-8; save the list as UTF-8") from error
        if words:
            lines.append((place, words))
    if not lines:
        raise InputError(f"{path}: contains no pair; write one {form!r} on each line")
    return lines


def pair_of(words: Sequence[str], place: str, form: str = LINE) -> Pair:
    """Return the pair that two file names make.

    Raises:
        InputError: these are not two plain file names. The message names the ``place``.
    """
    if len(words) != 2 or any(Path(name).name != name or not Path(name).suffix for name in words):
        found = " ".join(words)[:200]
        raise InputError(f"{place}: {found!r} is not two file names; write {form!r}")
    for name in words:
        if trouble := name_trouble(name):
            raise InputError(f"{place}: {name!r:.80} {trouble}; rename the file")
    return Pair(*words)


def name_trouble(name: str) -> str | None:
    """Return why some file system does not allow a file name, or why it cannot be seen; None if it is fine."""
    if not name.isprintable():
        return f"has an invisible character (U+{ord(next(c for c in name if not c.isprintable())):04X})"
    if "\\" in name:
        return "has a backslash (list names without their folders)"
    if Path(name).stem.endswith((".", " ")):
        return "has a dot before its suffix, which Windows drops"
    if name.partition(".")[0].casefold() in DEVICES:
        return "is the name of a device on Windows"
    if len(os.fsencode(Path(name).stem)) + len(MATCHES_ENDING) > LONGEST_NAME:
        return "is too long"
    return None


def name_key(name: str) -> str:
    """Return a name in the form that file systems may compare: without case, and with accents in one encoding."""
    return unicodedata.normalize("NFC", name).casefold()


def require_unique_names(listed: Mapping[Pair, str]) -> list[Pair]:
    """Return the pairs, after a check that no two of them would use the same file name.

    Files are named by ids, so every person, every garment and every result needs an id of its own. Ids that differ only
    in case or in the encoding of accents are the same on a case-insensitive file system, so they are refused as well.

    Args:
        listed: pair -> its place in a list, for the message.

    Raises:
        InputError: names collide, or the name of a result would be too long.
    """
    persons: dict[str, tuple[str, str]] = {}
    garments: dict[str, tuple[str, str]] = {}
    ids: dict[str, tuple[str, str]] = {}
    results: dict[str, tuple[str, str]] = {}
    for pair, place in listed.items():
        if len(os.fsencode(f"{pair.result_id}.png")) > LONGEST_NAME:
            raise InputError(
                f"{place}: the result would have a name of more than {LONGEST_NAME} bytes; use shorter file names"
            )
        for seen, owner, name in (
            (persons, pair.person, pair.person_id),
            (garments, pair.garment, pair.garment_id),
            (ids, pair.person_id, pair.person_id),
            (ids, pair.garment_id, pair.garment_id),
            (results, f"{pair.person} {pair.garment}", pair.result_id),
        ):
            other, before = seen.setdefault(name_key(name), (owner, place))
            if other != owner:
                what = "result name" if seen is results else "name if suffix and case are ignored"
                raise InputError(f"{place}: {owner} and {other} ({before}) have the same {what}; rename one")
    return list(listed)


def in_setting(pairs: Sequence[Pair], setting: str, worn_garment: Callable[[str], str]) -> list[Pair]:
    """Return the pairs to try on in a setting, each once.

    Args:
        pairs: the listed pairs.
        setting: ``paired``: the garment that the person wears. ``unpaired``: the garment in the list; if the list pairs
            everybody with the worn garment, as a training list does, the next person's garment.
        worn_garment: maps a person's file name to the worn garment's file name.

    Raises:
        UsageError: ``setting`` is neither of the two.
        InputError: two results would have the same name.
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
