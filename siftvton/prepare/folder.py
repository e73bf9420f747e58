"""Prepare a folder of photos and garments: what is done already is kept, and a picture that fails is listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from siftvton.data.layouts import CATEGORIES
from siftvton.data.layouts.base import AGNOSTIC_MASK, DENSEPOSE, GARMENT, GARMENT_MASK, IMAGE, PARSING, POSE
from siftvton.drawing import SHEET_ROWS
from siftvton.errors import InputError, first_line
from siftvton.files import write_image, write_text
from siftvton.options import keys
from siftvton.prepare.config import ModelsConfig, PhotoConfig
from siftvton.prepare.finder import Finder
from siftvton.prepare.garment import PreparedGarment, prepare_garment
from siftvton.prepare.given import read_garment_mask, read_given, read_photo
from siftvton.prepare.person import PreparedPerson, prepare_person
from siftvton.prepare.sheet import GARMENTS, garment_sheet, person_sheet
from siftvton.prepare.sources import PERSON_MASK, Item, Sources
from siftvton.prepare.store import SUFFIX, Record, Store, inputs_of

T = TypeVar("T")

MODEL_OF = {DENSEPOSE: "densepose", PARSING: "parsing"}  # kind of a missing file -> the model that could make it
NAMED = 5  # pictures that are named for each remark


@dataclass
class Batch:
    """What became of a folder's items.

    Attributes:
        persons, garments: id -> record of the prepared items, in the order of their names.
        failures: the user's file -> why it could not be prepared.
        kept: number of items that an earlier run had prepared.
    """

    persons: dict[str, Record] = field(default_factory=dict)
    garments: dict[str, Record] = field(default_factory=dict)
    failures: dict[Path, str] = field(default_factory=dict)
    kept: int = 0

    @property
    def lacking(self) -> set[str]:
        """The models that would have made what is missing, as keys of the section ``models``."""
        return {MODEL_OF[kind] for record in self.persons.values() for kind in record.missing}


def prepare_folder(
    sources: Sources, store: Store, finder: Finder, photos: PhotoConfig, models: ModelsConfig, strict: bool = False
) -> Batch:
    """Prepare all items of a folder, with a progress bar.

    An item that is done is made again if its files, the settings or the sources of its models have changed, or if a
    part of it is missing that can be had now.

    Args:
        sources: the user's folder.
        store: writes the files.
        finder: the models.
        photos: how photos and garments are framed.
        models: where the models come from.
        strict: stop at the first item that fails.

    Raises:
        InputError: an item failed and ``strict`` is set, or a file cannot be written.
    """
    batch = Batch(failures=dict(sources.faults))
    jobs = [*((IMAGE, item) for item in sources.persons), *((GARMENT, item) for item in sources.garments)]
    for kind, item in tqdm(jobs, desc="preparing", unit="picture", disable=not jobs):
        if strict and batch.failures:
            break
        done = batch.persons if kind == IMAGE else batch.garments
        try:
            record = Record(item.picture.name, inputs_of(item, sources.folder), _settings(kind, item, photos, models))
            before = store.record(kind, item.id)
            if before is not None and _is_up_to_date(before, record, finder):
                done[item.id] = before
                batch.kept += 1
                continue
            prepared = _person(item, finder, photos) if kind == IMAGE else _garment(item, finder, photos)
        except InputError as error:
            batch.failures[item.picture] = str(error).removeprefix(f"{item.picture}: ")
            continue
        except (cv2.error, MemoryError) as error:
            batch.failures[item.picture] = f"cannot be prepared ({first_line(error)}); use a smaller picture"
            continue
        done[item.id] = _written(store, item, prepared, record)
    if strict and batch.failures:
        path, reason = next(iter(batch.failures.items()))
        raise InputError(f"{path}: {reason}")
    return batch


def _settings(kind: str, item: Item, photos: PhotoConfig, models: ModelsConfig) -> dict[str, Any]:
    """Return the settings that change an item: how it is framed, and the sources of the models that it may need."""
    given, asked = item.sides, []
    if kind == GARMENT:
        asked = [] if GARMENT_MASK in given else ["detector", "parsing"]
    else:
        if POSE not in given:
            asked += ["detector"] if AGNOSTIC_MASK in given else ["detector", "pose"]
        if PARSING not in given and AGNOSTIC_MASK not in given:
            asked.append("parsing")
        if DENSEPOSE not in given:
            asked.append("densepose")
    own = {key: getattr(photos, key) for key in keys(PhotoConfig)}
    if kind == GARMENT or photos.category == CATEGORIES[0]:
        del own["category"]  # as in records from before the key existed
    return {**own, **{f"models.{part}": getattr(models, part) for part in asked}}


def _is_up_to_date(before: Record, now: Record, finder: Finder) -> bool:
    """Whether an item is as it would be made now."""
    if (before.picture, before.inputs, before.settings) != (now.picture, now.inputs, now.settings):
        return False
    return all(
        now.settings.get(f"models.{MODEL_OF[kind]}") is None or MODEL_OF[kind] in finder.missing
        for kind in before.missing
    )


def _person(item: Item, finder: Finder, photos: PhotoConfig) -> PreparedPerson:
    photo = read_photo(item.picture)
    given = read_given(
        photo,
        pose=item.sides.get(POSE),
        parsing=item.sides.get(PARSING),
        densepose=item.sides.get(DENSEPOSE),
        mask=item.sides.get(AGNOSTIC_MASK),
        person_mask=item.sides.get(PERSON_MASK),
        scheme=photos.parsing_labels,
    )
    return prepare_person(photo, given, finder, photos)


def _garment(item: Item, finder: Finder, photos: PhotoConfig) -> PreparedGarment:
    picture = read_photo(item.picture)
    path = item.sides.get(GARMENT_MASK)
    mask = None if path is None else read_garment_mask(path, picture)
    return prepare_garment(picture, mask, finder, photos.largest)


def _written(store: Store, item: Item, prepared: PreparedPerson | PreparedGarment, record: Record) -> Record:
    """Write an item and return its record."""
    if isinstance(prepared, PreparedGarment):
        record = replace(record, remarks=prepared.remarks)
        store.write_garment(item.id, prepared, record)
        return record
    missing = [DENSEPOSE] if prepared.densepose is None else []
    if prepared.parsing is None and AGNOSTIC_MASK not in item.sides:
        missing.append(PARSING)
    record = replace(record, remarks=prepared.remarks, missing=tuple(missing), framing=prepared.framing)
    store.write_person(item.id, prepared, record)
    return record


def write_pairs(sources: Sources, batch: Batch, path: Path) -> None:
    """Write the pair list of all prepared persons; nothing if there are no persons or no garments.

    Pairs that the user's own list names are kept. Every other person gets a garment: in training the worn one, which
    has the person's name; else the next one, and not the worn one if there is a choice.

    Raises:
        InputError: the list cannot be written.
    """
    pairs = [pair for pair in sources.pairs if pair[0] in batch.persons and pair[1] in batch.garments]
    listed = {person for person, _ in pairs}
    for number, person in enumerate(batch.persons):
        if person in listed:
            continue
        if sources.split == "train":
            own = [person] if person in batch.garments else []
        else:
            own = [each for each in batch.garments if each != person] or list(batch.garments)
        if own:
            pairs.append((person, own[number % len(own)]))
    if pairs:
        write_text(path, "".join(f"{person}{SUFFIX} {garment}{SUFFIX}\n" for person, garment in pairs))


def write_sheets(store: Store, batch: Batch, folder: Path, count: int) -> list[Path]:
    """Draw the first ``count`` persons and garments on sheets in ``folder``; return the sheets' paths.

    Raises:
        InputError: a prepared file is damaged, or a sheet cannot be written.
    """
    persons, garments = list(batch.persons)[:count], list(batch.garments)[:count]
    sheets = [
        *_drawn("persons", persons, SHEET_ROWS, store.read_person, person_sheet),
        *_drawn("garments", garments, SHEET_ROWS * GARMENTS, store.read_garment, garment_sheet),
    ]
    paths = []
    for name, sheet in sheets:
        paths.append(folder / name)
        write_image(paths[-1], sheet)
    return paths


def _drawn(
    name: str,
    items: list[str],
    on_each: int,
    read: Callable[[str], T],
    draw: Callable[[list[tuple[str, T]]], np.ndarray],
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield file names and sheets of ``on_each`` items."""
    for number, start in enumerate(range(0, len(items), on_each), start=1):
        yield f"{name}-{number:03d}.jpg", draw([(item, read(item)) for item in items[start : start + on_each]])


def remark_lines(records: Mapping[str, Record]) -> list[str]:
    """Return a line for each different remark, with the pictures that it is about."""
    about = defaultdict(list)
    for record in records.values():
        for remark in record.remarks:
            about[remark].append(record.picture)
    return [f"{named(pictures)}: {remark}" for remark, pictures in about.items()]


def named(pictures: list[str]) -> str:
    others = len(pictures) - NAMED
    return ", ".join(pictures[:NAMED]) + (f" and {others} more" if others > 0 else "")
