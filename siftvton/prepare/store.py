"""Prepared persons and garments as files in VITON-HD's layout, each with a record of what they were made from.

The record of a person is ``prepared/image/<id>.json``, that of a garment ``prepared/cloth/<id>.json``. It is written
last, so an item with a record is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT, GARMENT_MASK, IMAGE, Split
from siftvton.data.sides import read_densepose
from siftvton.errors import InputError
from siftvton.files import (
    cannot_write,
    is_file,
    read_grey,
    read_image,
    read_json,
    read_labels,
    sha256,
    write_image,
    write_json,
)
from siftvton.prepare.framing import Framing
from siftvton.prepare.garment import PreparedGarment
from siftvton.prepare.joints import BODY_25, Joints, read_openpose
from siftvton.prepare.person import PreparedPerson
from siftvton.prepare.sources import PARSING, POSE, POSE_ENDING, Item

RECORDS = "prepared"
SUFFIX = ".jpg"  # of photos and garments, as in VITON-HD
BODY_25_JOINTS = 25


@dataclass(frozen=True)
class Record:
    """What an item was made from.

    Attributes:
        picture: name of the user's picture.
        inputs: name of each file that was read -> SHA-256.
        settings: key -> value, of the keys that change the item.
        remarks: sentences that the user should know.
        missing: kinds that could not be made.
        framing: the way back into the photo, see :class:`~siftvton.prepare.framing.Framing`; None for garments.
    """

    picture: str
    inputs: Mapping[str, str]
    settings: Mapping[str, Any]
    remarks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    framing: Framing | None = None


def inputs_of(item: Item, root: Path) -> dict[str, str]:
    """Return the SHA-256 of an item's files, by their names below ``root``.

    Raises:
        InputError: a file cannot be read.
    """
    return {path.relative_to(root).as_posix(): sha256(path) for path in item.files}


class Store:
    """A split's folder, for writing and reading prepared items."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def path(self, kind: str, item: str) -> Path:
        """Return the path of a file by its kind and its item's id."""
        if kind == PARSING:
            return self._split.folder / PARSING / f"{item}.png"
        if kind == POSE:
            return self._split.folder / POSE / f"{item}{POSE_ENDING}.json"
        return self._split.candidates(kind, f"{item}{SUFFIX}")[0]

    def record(self, kind: str, item: str) -> Record | None:
        """Return the record of an item of kind ``image`` or ``cloth``; None: the item is not complete."""
        path = self._record_path(kind, item)
        if not is_file(path):
            return None
        try:
            record = _record_of(read_json(path), path)
        except InputError:
            return None  # as good as none: the item is made again
        kinds = (IMAGE, AGNOSTIC_MASK, AGNOSTIC) if kind == IMAGE else (GARMENT, GARMENT_MASK)
        return record if all(is_file(self.path(each, item)) for each in kinds) else None

    def write_person(self, item: str, person: PreparedPerson, record: Record) -> None:
        """Write the files of a person, and the record last.

        Raises:
            InputError: a file cannot be written.
        """
        pose = None if person.joints is None else openpose(person.joints)
        self._write(
            IMAGE,
            item,
            {
                IMAGE: person.photo,
                AGNOSTIC_MASK: person.mask,
                AGNOSTIC: person.agnostic,
                DENSEPOSE: person.densepose,
                PARSING: person.parsing,
                POSE: pose,
            },
            record,
        )

    def write_garment(self, item: str, garment: PreparedGarment, record: Record) -> None:
        """Write the files of a garment, and the record last; raises as :meth:`write_person`."""
        self._write(GARMENT, item, {GARMENT: garment.picture, GARMENT_MASK: garment.mask}, record)

    def read_person(self, item: str) -> PreparedPerson:
        """Read what was written.

        Raises:
            InputError: a file is missing or damaged.
        """
        path = self._record_path(IMAGE, item)
        record = _record_of(read_json(path), path)
        if record.framing is None:
            raise InputError(f"{path}: has no framing; delete the file and run scripts/prepare.py again")
        pose, parsing, densepose = (self.path(kind, item) for kind in (POSE, PARSING, DENSEPOSE))
        return PreparedPerson(
            photo=read_image(self.path(IMAGE, item)),
            mask=read_grey(self.path(AGNOSTIC_MASK, item)),
            agnostic=read_image(self.path(AGNOSTIC, item)),
            densepose=read_densepose(densepose) if is_file(densepose) else None,
            joints=read_openpose(pose)[0] if is_file(pose) else None,
            parsing=read_labels(parsing) if is_file(parsing) else None,
            framing=record.framing,
            remarks=record.remarks,
        )

    def read_garment(self, item: str) -> PreparedGarment:
        """Read what was written; raises as :meth:`read_person`."""
        path = self._record_path(GARMENT, item)
        remarks = _record_of(read_json(path), path).remarks
        return PreparedGarment(read_image(self.path(GARMENT, item)), read_grey(self.path(GARMENT_MASK, item)), remarks)

    def _record_path(self, kind: str, item: str) -> Path:
        return self._split.folder / RECORDS / kind / f"{item}.json"

    def _write(self, kind: str, item: str, contents: Mapping[str, Any], record: Record) -> None:
        """Write what is not None, and remove files of earlier runs that are not made any more."""
        self._remove([self._record_path(kind, item)])
        for each, content in contents.items():
            path = self.path(each, item)
            if content is None:
                self._remove([path])
            elif isinstance(content, np.ndarray):
                write_image(path, content)
            else:
                write_json(path, content)
        value = asdict(record)
        value["framing"] = None if record.framing is None else record.framing.as_json()
        write_json(self._record_path(kind, item), value)

    def _remove(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise cannot_write(path, error) from error


def openpose(joints: Joints) -> dict[str, Any]:
    """Return joints as the value of an OpenPose file in BODY_25 form; a missing joint is at (0, 0)."""
    rows = np.zeros((BODY_25_JOINTS, 3))
    for name, number in BODY_25.items():
        if joints.has(name):
            rows[number] = (*joints[name], 1)
    return {"version": 1.3, "people": [{"pose_keypoints_2d": rows.round(3).ravel().tolist()}]}


def _record_of(value: Any, path: Path) -> Record:
    """
    Raises:
        InputError: the value is no record.
    """
    kinds = {"picture": str, "inputs": dict, "settings": dict, "remarks": list, "missing": list}
    texts = isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in kinds.items())
    if not texts or not all(isinstance(each, str) for each in (*value["remarks"], *value["missing"])):
        raise InputError(
            f"{path}: is no record of a prepared picture; delete the file and run scripts/prepare.py again"
        )
    framing = None if value.get("framing") is None else Framing.from_json(value["framing"], path)
    return Record(
        value["picture"],
        value["inputs"],
        value["settings"],
        tuple(value["remarks"]),
        tuple(value["missing"]),
        framing,
    )
