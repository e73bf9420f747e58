"""Measures of try-on results in the toy world, where the right picture is known: print, colour, rest of the photo.

The truth is the same person rendered in the same garment. Inside the print of that garment, the result is compared
with the truth and with the person rendered in other garments. The print counts as right if the truth is the closest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from siftvton.data.dataset import TryOnDataset, TryOnItem, as_picture, resized
from siftvton.data.layouts.base import GARMENT, Split
from siftvton.data.pairs import Pair
from siftvton.drawing import contact_sheet
from siftvton.draws import numpy_generator
from siftvton.errors import InputError
from siftvton.evaluation.intervals import bootstrap, wilson
from siftvton.evaluation.metrics import perceptual_map
from siftvton.evaluation.weights import load_lpips
from siftvton.files import read_image
from siftvton.tables import markdown_table
from siftvton.toy.world.outfits import Clothing, flat_picture
from siftvton.toy.world.render import Rendering
from siftvton.toy.worlds import World, number_of, world_of

PRINT_LEVELS = 16  # grey levels; a pixel that differs from the plain garment by this much belongs to the print
PRINT_MARGIN = 2  # pixels around the print that count as print, because its edge is part of it
SMALLEST_PRINT = 20  # pixels
SAME_DRAWING = 6.0  # mean grey levels; JPEG changes a drawing by less than 1, two garments differ by 20 or more
RIGHT_COLOUR = 10.0  # CIELAB distance (1976) of mean colours; two garments of this world differ by 50 on average


@dataclass(frozen=True)
class Case:
    """A result and what it is compared with; ``others`` are the numbers of garments of the same category."""

    world: World
    split: Split
    pair: Pair
    others: tuple[int, ...]
    result: Path
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What is known about a pair, whatever its result is. Pictures are (H, W, 3) uint8, areas (H, W) bool.

    Attributes:
        pair: person and garment.
        print: the kind of print.
        truth: the right photo: the person in the garment.
        worn: where the truth shows the garment.
        printed: where the truth shows the garment's print.
        others: photos of the person in the other garments; none if the garment has no print.
        reprinted: photos of the person in this garment with the prints of the others.
        photo: the person's own photo.
        kept: where the data's mask says that the photo stays as it is.
    """

    pair: Pair
    print: str
    truth: np.ndarray
    worn: np.ndarray
    printed: np.ndarray
    others: list[np.ndarray]
    reprinted: list[np.ndarray]
    photo: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class ToyScore:
    """The scores of one result. The print's scores are None if the garment has no print.

    Attributes:
        result: the name of the result.
        print: the kind of print.
        print_error: mean squared difference from the truth inside the print, of colours in 0…1.
        print_similarity: SSIM with the truth inside the print.
        closest_by_error, closest_by_similarity: whether the truth is closer than each of the other garments.
        closest_on_same_cloth: the same by error, compared with other prints on this garment's cut and cloth.
        colour_distance: CIELAB distance of the mean colours where the garment is worn; None if it is not visible.
        changed: largest difference from the photo, in grey levels, outside the painted area; None if everything is
            painted.
        perceptual_distance: LPIPS from the truth, mean over the painted area; None without AlexNet, or if nothing is
            painted.
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
    perceptual_distance: float | None = None


def cases_of(
    split: Split, pairs: Sequence[Pair], results: Path, size: tuple[int, int], others: int, seed: int
) -> list[Case]:
    """Find the results to score, and choose what each is compared with.

    Args:
        pairs: person and garment of each result.
        results: the folder of results.
        size: (height, width) of a result, pixels.
        others: number of other garments that each print is compared with.
        seed: seed for the choice of the other garments.

    Raises:
        InputError: the data are not a toy world, or a result is missing.
    """
    world = world_of(split)
    printed = [
        index
        for index in sorted({number_of(pair.garment_id) for pair in pairs})
        if world.garment(index).print != "plain"
    ]
    cases = []
    for pair in pairs:
        own = number_of(pair.garment_id)
        candidates = [index for index in printed if index != own and world.category(index) == world.category(own)]
        draw = numpy_generator(seed, pair.result_id, "others")
        compared = draw.permutation(candidates)[:others].tolist()
        paths = [results / f"{pair.result_id}.{suffix}" for suffix in ("png", "jpg")]
        result = next((path for path in paths if path.is_file()), None)
        if result is None:
            raise InputError(f"{paths[0]}: no such file, nor {paths[1].name}; run scripts/infer.py first")
        cases.append(Case(world, split, pair, tuple(compared), result, size))
    _require_same_world(cases[0])
    return cases


def _require_same_world(case: Case) -> None:
    """Raise InputError unless this code draws the case's garment as its file shows it."""
    path = case.split.require(GARMENT, case.pair.garment)
    found = read_image(path)
    garment = case.world.garment(number_of(case.pair.garment_id))
    drawn = flat_picture(garment, *found.shape[:2]).picture
    if np.abs(drawn.astype(np.int16) - found).mean() > SAME_DRAWING:
        raise InputError(
            f"{case.world.note}: says seed {case.world.seed}, but {path} is another drawing; make the world again "
            "in another folder"
        )


def truth_sheet(cases: Sequence[Case]) -> np.ndarray:
    """A sheet with one row for each case: person, garment, result and truth."""
    rows, captions = [], []
    for case in cases:
        item = _item(case)
        garment = case.world.garment(number_of(case.pair.garment_id))
        rows.append([as_picture(item.image), as_picture(item.garment), read_image(case.result), _photo(case, garment)])
        captions.append([f"person {case.pair.person_id}", f"garment {case.pair.garment_id}", "result", "truth"])
    return contact_sheet(rows, captions)


def score(case: Case, alexnet: Path | None = None) -> ToyScore:
    """Render the truth and the other garments, and compare the result with them; raises as :func:`read_result`.

    Args:
        case: the result and what it is compared with.
        alexnet: file of AlexNet, for LPIPS; None: no LPIPS. Raises as :func:`load_lpips`.
    """
    result = read_result(case)  # before the work of rendering
    network = _lpips(alexnet) if alexnet else None
    known = ground_truth_of(case)
    scored = compared(result, known)
    if network is None or known.kept.all():
        return scored
    first, second = (torch.tensor(p).permute(2, 0, 1)[None].float() / 255 for p in (result, known.truth))
    painted = torch.from_numpy(~known.kept)
    return replace(scored, perceptual_distance=float(perceptual_map(first, second, network)[0, painted].mean()))


@cache
def _lpips(alexnet: Path) -> nn.Module:
    return load_lpips(alexnet, torch.device("cpu"), maps=True)


def read_result(case: Case) -> np.ndarray:
    """Read a result, (H, W, 3) uint8.

    Raises:
        InputError: the result cannot be read, or has another size than the data.
    """
    result = read_image(case.result)
    if result.shape[:2] != case.size:
        raise InputError(
            f"{case.result}: has {result.shape[0]}×{result.shape[1]} pixels (height × width), but the data have "
            f"{case.size[0]}×{case.size[1]}; set data.height and data.width to the size of the results"
        )
    return result


def ground_truth_of(case: Case) -> GroundTruth:
    """Render the truth and what a result is compared with."""
    garment = case.world.garment(number_of(case.pair.garment_id))
    others = [case.world.garment(index) for index in case.others]
    truth, worn, printed = _truth(case, garment)
    if printed.sum() < SMALLEST_PRINT:
        others = []
    reprinted = [replace(garment, seed=other.seed, print=other.print) for other in others]
    item = _item(case)
    return GroundTruth(
        pair=case.pair,
        print=garment.print,
        truth=truth,
        worn=worn,
        printed=printed,
        others=[_photo(case, other) for other in others],
        reprinted=[_photo(case, other) for other in reprinted],
        photo=as_picture(item.image),
        kept=item.keep_mask[0].numpy() == 1,
    )


def compared(result: np.ndarray, known: GroundTruth) -> ToyScore:
    """Compare a result, (H, W, 3) uint8, with what is known about its pair."""
    own = error_and_similarity(result, known.truth, known.printed) if known.printed.sum() >= SMALLEST_PRINT else None
    closest = similar = on_same_cloth = None
    if own is not None and known.others:
        error, similarity = own
        others = [error_and_similarity(result, other, known.printed) for other in known.others]
        closest = all(error < other for other, _ in others)
        similar = all(similarity > other for _, other in others)
        on_same_cloth = all(error < error_and_similarity(result, other, known.printed)[0] for other in known.reprinted)
    change = np.abs(known.photo.astype(int) - result)
    return ToyScore(
        result=known.pair.result_id,
        print=known.print,
        print_error=own and own[0],
        print_similarity=own and own[1],
        closest_by_error=closest,
        closest_by_similarity=similar,
        closest_on_same_cloth=on_same_cloth,
        colour_distance=colour_distance(result, known.truth, known.worn),
        changed=int(change[known.kept].max()) if known.kept.any() else None,
    )


def _item(case: Case) -> TryOnItem:
    return TryOnDataset(case.split, [case.pair], *case.size)[0]


def _truth(case: Case, garment: Clothing) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The right photo, (height, width, 3); where the garment is visible, and where its print is, (height, width)."""
    rendering = _rendering(case, garment)
    truth = resized(rendering.photo, case.size)
    plain = _photo(case, replace(garment, print="plain"))
    differs = np.abs(truth.astype(int) - plain).max(axis=2) >= PRINT_LEVELS
    near = np.ones((2 * PRINT_MARGIN + 1,) * 2, np.uint8)
    worn = resized(rendering.worn_mask.astype(np.uint8) * 255, case.size) > 127
    return truth, worn, (cv2.dilate(differs.astype(np.uint8), near) > 0) & worn


def _photo(case: Case, garment: Clothing) -> np.ndarray:
    return resized(_rendering(case, garment).photo, case.size)


def _rendering(case: Case, garment: Clothing) -> Rendering:
    return case.world.rendering(number_of(case.pair.person_id), garment)


def error_and_similarity(result: np.ndarray, other: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Mean squared difference of colours in 0…1, and mean SSIM, both inside ``where``."""
    first, second = (torch.tensor(p).permute(2, 0, 1)[None].double() / 255 for p in (result, other))
    _, similarity = structural_similarity_index_measure(first, second, data_range=1.0, return_full_image=True)
    squared = (first - second).square()
    inside = torch.from_numpy(where)
    return float(squared[0, :, inside].mean()), float(similarity[0, :, inside].mean())


def colour_distance(result: np.ndarray, truth: np.ndarray, worn: np.ndarray) -> float | None:
    """CIELAB distance of the mean colours where the garment is worn; None if it is not visible."""
    if not worn.any():
        return None
    return float(np.linalg.norm(_mean_colour(result, worn) - _mean_colour(truth, worn)))


def _mean_colour(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(3,) CIELAB of the mean colour inside ``where``."""
    mean = picture[where].mean(axis=0).astype(np.float32) / 255
    return cv2.cvtColor(mean[None, None], cv2.COLOR_RGB2LAB)[0, 0]


SHARES = {
    "print_closest_by_error": "prints closer to the right garment than to other garments, by squared error",
    "print_closest_by_similarity": "prints closer to the right garment than to other garments, by SSIM",
    "print_closest_on_same_cloth": "prints closer to the right print than to other prints on the same cut and cloth, "
    "by squared error",
    "colour_right": f"garments with a mean colour within {RIGHT_COLOUR:g} (CIELAB) of the truth",
    "unchanged": "photos without any change outside the painted area",
}
MEANS = {
    "print_error": "mean squared error inside the print, colours in 0…1",
    "print_similarity": "mean SSIM inside the print",
    "colour_distance": "mean distance (CIELAB) between the garment's mean colours in result and truth",
    "perceptual_distance": "mean LPIPS inside the painted area",
}


def summary(scores: Sequence[ToyScore]) -> dict[str, Any]:
    """Compute the shares and means, their 95 % intervals, and the number of cases behind each."""
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
            report[name] = mean_entry(numbers)
    return report


def mean_entry(numbers: Sequence[float]) -> dict[str, Any]:
    """A mean with its 95 % interval and the number of cases, as in a report."""
    return _entry(float(np.mean(numbers)), bootstrap(numbers), len(numbers))


def by_category(cases: Sequence[Case], scores: Sequence[ToyScore]) -> dict[str, list[ToyScore]]:
    """Group the scores of a world by the category of the garment; one group if there is only one category."""
    categories = {case.pair.result_id: case.world.category(number_of(case.pair.garment_id)) for case in cases}
    groups: dict[str, list[ToyScore]] = {}
    for entry in scores:
        groups.setdefault(categories[entry.result], []).append(entry)
    return groups


def _entry(value: float, interval: tuple[float, float], cases: int) -> dict[str, Any]:
    return {"value": value, "interval": list(interval), "cases": cases}


def markdown(report: Mapping[str, Any]) -> str:
    """Make the table: one row for each measure."""
    rows = []
    for name, title in (SHARES | MEANS).items():
        if name in report:
            value, (low, high), cases = report[name]["value"], report[name]["interval"], report[name]["cases"]
            style = "{:.1%}" if name in SHARES else "{:.4f}"
            texts = [style.format(number) for number in (value, low, high)]
            rows.append([title, texts[0], f"{texts[1]} to {texts[2]}", str(cases)])
    return "\n".join(markdown_table(["measure", "value", "95 % interval", "results"], rows)) + "\n"
