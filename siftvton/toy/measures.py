"""Try-on results in the toy world, where what they should look like is known: print, colour, the rest of the photo.

The truth is the same person rendered in the same garment. Inside the print of that garment, the result is compared
with the truth and with the person rendered in other garments: the print is right where the truth is closer than all
of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from siftvton.data.dataset import TryOnDataset, TryOnItem, as_picture
from siftvton.data.layouts.base import GARMENT, Split
from siftvton.data.pairs import Pair
from siftvton.drawing import contact_sheet
from siftvton.draws import numpy_generator
from siftvton.errors import InputError
from siftvton.evaluation.intervals import bootstrap, wilson
from siftvton.files import read_image, read_json
from siftvton.options import LARGEST_SIDE
from siftvton.tables import markdown_table
from siftvton.toy.world.flat import render_garment
from siftvton.toy.world.garments import Garment, sample_garment
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import Rendering, render
from siftvton.toy.world.write import WORLD_FILE

PRINT_LEVELS = 16  # grey levels that a print changes a pixel by, at least
PRINT_MARGIN = 2  # pixels around the print that count as well: where it ends is part of it
SMALLEST_PRINT = 20  # pixels
SAME_DRAWING = 6.0  # grey levels, mean; JPEG moves a drawing by less than 1, and two garments are 20 and more apart
RIGHT_COLOUR = 10.0  # CIELAB distance (1976) of mean colours; garments of this world are 50 apart on average


@dataclass(frozen=True)
class Case:
    """A result and what it is compared with; garments and persons by their number in the split."""

    world: Mapping[str, int]
    split: Split
    pair: Pair
    others: tuple[int, ...]
    result: Path
    size: tuple[int, int]


@dataclass(frozen=True)
class ToyScore:
    """What one result scored; None where the garment has no print.

    Attributes:
        result: its name. print: the print's kind.
        print_error: mean squared difference from the truth inside the print, of colours in 0…1.
        print_similarity: SSIM there.
        closest_by_error, closest_by_similarity: the truth is closer than every one of the other garments.
        closest_on_same_cloth: likewise by error, the others being other prints on this garment's cut and cloth.
        colour_distance: CIELAB distance of the mean colour where the garment is worn; None where it is nowhere.
        changed: largest difference, in grey levels, from the photo where nothing was to be painted; None where
            everything was.
    """

    result: str
    print: str
    print_error: float | None
    print_similarity: float | None
    closest_by_error: bool | None
    closest_by_similarity: bool | None
    closest_on_same_cloth: bool | None
    colour_distance: float | None
    changed: int | None


def cases_of(
    split: Split, pairs: Sequence[Pair], results: Path, size: tuple[int, int], others: int, seed: int
) -> list[Case]:
    """The results to score, each with what it is compared with.

    Args:
        pairs: as tried on.
        results: the folder of results.
        size: (height, width) of a result, pixels.
        others: how many other garments each print is compared with.
        seed: for the draw of these.

    Raises:
        InputError: the data are not a toy world's, or a result is missing.
    """
    note = split.folder.parent / WORLD_FILE
    if not note.is_file():
        raise InputError(f"{note}: no such file; the truth is known only for a world of scripts/make_toy_data.py")
    world = _world(note)
    printed = [
        index
        for index in sorted({_number(pair.garment_id) for pair in pairs})
        if sample_garment(world["seed"], _world_split(split), index).print != "plain"
    ]
    cases = []
    for pair in pairs:
        candidates = [index for index in printed if index != _number(pair.garment_id)]
        draw = numpy_generator(seed, pair.result_id, "others")
        compared = draw.permutation(candidates)[:others].tolist()
        paths = [results / f"{pair.result_id}.{suffix}" for suffix in ("png", "jpg")]
        result = next((path for path in paths if path.is_file()), None)
        if result is None:
            raise InputError(f"{paths[0]}: no such file, nor {paths[1].name}; scripts/infer.py writes it")
        cases.append(Case(world, split, pair, tuple(compared), result, size))
    _require_same_world(note, cases[0])
    return cases


def _world_split(split: Split) -> str:
    """The half of the world that the split's persons come from."""
    return "test" if split.name == "test" else "train"


def _require_same_world(note: Path, case: Case) -> None:
    """Raise InputError unless this code draws the first case's garment as its file shows it."""
    path = case.split.require(GARMENT, case.pair.garment)
    found = read_image(path)
    garment = sample_garment(case.world["seed"], _world_split(case.split), _number(case.pair.garment_id))
    drawn = render_garment(garment, *found.shape[:2]).picture
    if np.abs(drawn.astype(np.int16) - found).mean() > SAME_DRAWING:
        raise InputError(
            f"{note}: says seed {case.world['seed']}, but {path} is another drawing; its truth is not known: make the "
            "world again in another folder"
        )


def _world(note: Path) -> dict[str, int]:
    """Seed and size of a toy world."""
    world = read_json(note)
    keys = ("seed", "height", "width")
    if not isinstance(world, dict) or not all(type(world.get(key)) is int for key in keys):
        raise InputError(f"{note}: has no whole numbers {', '.join(keys)}; make the world again in another folder")
    if not all(1 <= world[key] <= LARGEST_SIDE for key in keys[1:]):
        raise InputError(f"{note}: height and width of 1 to {LARGEST_SIDE} are required; make the world again")
    return world


def _number(file_id: str) -> int:
    """Which person or garment of the world a file shows."""
    number = file_id.partition("_")[0]
    if not number.isdecimal():
        raise InputError(f"{file_id}: not of the toy world, whose files are named 00000_00, 00001_00, …")
    return int(number)


def truth_sheet(cases: Sequence[Case]) -> np.ndarray:
    """Person, garment, result and truth of the first cases, a row each."""
    rows, captions = [], []
    for case in cases:
        item = _item(case)
        garment = sample_garment(case.world["seed"], _world_split(case.split), _number(case.pair.garment_id))
        rows.append([as_picture(item.image), as_picture(item.garment), read_image(case.result), _photo(case, garment)])
        captions.append([f"person {case.pair.person_id}", f"garment {case.pair.garment_id}", "result", "truth"])
    return contact_sheet(rows, captions)


def score(case: Case) -> ToyScore:
    """Render the truth and the other garments, and compare."""
    result = read_image(case.result)
    if result.shape[:2] != case.size:
        raise InputError(f"{case.result}: is {result.shape[0]} × {result.shape[1]}, the data {case.size}")
    seed = case.world["seed"]
    garment = sample_garment(seed, _world_split(case.split), _number(case.pair.garment_id))
    others = [sample_garment(seed, _world_split(case.split), index) for index in case.others]
    truth, worn, printed = _truth(case, garment)
    own = _compare(result, truth, printed) if printed.sum() >= SMALLEST_PRINT else None
    closest = similar = on_same_cloth = None
    if own is not None and others:
        error, similarity = own
        compared = [_compare(result, _photo(case, other), printed) for other in others]
        closest = all(error < other for other, _ in compared)
        similar = all(similarity > other for _, other in compared)
        reprinted = [replace(garment, seed=other.seed, print=other.print) for other in others]
        on_same_cloth = all(error < _compare(result, _photo(case, other), printed)[0] for other in reprinted)
    item = _item(case)
    photo = ((item.image.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(int)
    kept = item.keep_mask[0].numpy() == 1
    return ToyScore(
        result=case.pair.result_id,
        print=garment.print,
        print_error=own and own[0],
        print_similarity=own and own[1],
        closest_by_error=closest,
        closest_by_similarity=similar,
        closest_on_same_cloth=on_same_cloth,
        colour_distance=_colour_distance(result, truth, worn),
        changed=int(np.abs(photo - result)[kept].max()) if kept.any() else None,
    )


def _item(case: Case) -> TryOnItem:
    return TryOnDataset(case.split, [case.pair], *case.size)[0]


def _truth(case: Case, garment: Garment) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The photo as it should be, where the garment is worn and where its print is, (height, width) bool each."""
    rendering = _rendering(case, garment)
    truth = _resized(rendering.photo, case.size)
    plain = _photo(case, replace(garment, print="plain"))
    differs = np.abs(truth.astype(int) - plain).max(axis=2) >= PRINT_LEVELS
    near = np.ones((2 * PRINT_MARGIN + 1,) * 2, np.uint8)
    worn = _resized(rendering.worn_mask.astype(np.uint8) * 255, case.size) > 127
    return truth, worn, (cv2.dilate(differs.astype(np.uint8), near) > 0) & worn


def _photo(case: Case, garment: Garment) -> np.ndarray:
    return _resized(_rendering(case, garment).photo, case.size)


def _rendering(case: Case, garment: Garment) -> Rendering:
    person = sample_person(case.world["seed"], _world_split(case.split), _number(case.pair.person_id))
    return render(person, garment, case.world["height"], case.world["width"])


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """As the dataset resizes what the world wrote."""
    return cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def _compare(result: np.ndarray, other: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Mean squared difference, of colours in 0…1, and mean SSIM inside ``where``."""
    shown, wanted = (torch.tensor(p).permute(2, 0, 1)[None].double() / 255 for p in (result, other))
    _, similarity = structural_similarity_index_measure(shown, wanted, data_range=1.0, return_full_image=True)
    squared = (shown - wanted).square()
    inside = torch.from_numpy(where)
    return float(squared[0, :, inside].mean()), float(similarity[0, :, inside].mean())


def _colour_distance(result: np.ndarray, truth: np.ndarray, worn: np.ndarray) -> float | None:
    if not worn.any():
        return None
    return float(np.linalg.norm(_mean_colour(result, worn) - _mean_colour(truth, worn)))


def _mean_colour(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(3,) CIELAB of the mean colour inside ``where``."""
    mean = picture[where].mean(axis=0).astype(np.float32) / 255
    return cv2.cvtColor(mean[None, None], cv2.COLOR_RGB2LAB)[0, 0]


SHARES = {
    "print_closest_by_error": "print closer (MSE) to its own garment's truth than to nine other garments'",
    "print_closest_by_similarity": "print closer (SSIM) to its own garment's truth than to nine other garments'",
    "print_closest_on_same_cloth": "print closer (MSE) than nine other prints on the same cut and cloth",
    "colour_right": f"mean colour within {RIGHT_COLOUR:g} (CIELAB) of the truth's",
    "unchanged": "not one grey level changed where nothing was to be painted",
}
MEANS = {
    "print_error": "squared error inside the print",
    "print_similarity": "SSIM inside the print",
    "colour_distance": "CIELAB distance of the mean colour",
}


def summary(scores: Sequence[ToyScore]) -> dict[str, Any]:
    """Shares and means with their 95 % intervals, and how many cases each counts."""
    answers: dict[str, list[bool | None]] = {
        "print_closest_by_error": [entry.closest_by_error for entry in scores],
        "print_closest_by_similarity": [entry.closest_by_similarity for entry in scores],
        "print_closest_on_same_cloth": [entry.closest_on_same_cloth for entry in scores],
        "colour_right": [None if d is None else d <= RIGHT_COLOUR for d in (e.colour_distance for e in scores)],
        "unchanged": [None if entry.changed is None else entry.changed == 0 for entry in scores],
    }
    report: dict[str, Any] = {"results": len(scores)}
    for name, values in answers.items():
        known = [value for value in values if value is not None]
        if known:
            report[name] = _entry(float(np.mean(known)), wilson(sum(known), len(known)), len(known))
    for name in MEANS:
        numbers = [value for entry in scores if (value := getattr(entry, name)) is not None]
        if numbers:
            report[name] = _entry(float(np.mean(numbers)), bootstrap(numbers), len(numbers))
    return report


def _entry(value: float, interval: tuple[float, float], cases: int) -> dict[str, Any]:
    return {"value": value, "interval": list(interval), "cases": cases}


def markdown(report: Mapping[str, Any]) -> str:
    """A row a measure."""
    rows = []
    for name, title in (SHARES | MEANS).items():
        if name in report:
            value, (low, high), cases = report[name]["value"], report[name]["interval"], report[name]["cases"]
            style = "{:.1%}" if name in SHARES else "{:.4f}"
            texts = [style.format(number) for number in (value, low, high)]
            rows.append([title, texts[0], f"{texts[1]} to {texts[2]}", str(cases)])
    return "\n".join(markdown_table(["measure", "value", "95 % interval", "results"], rows)) + "\n"
