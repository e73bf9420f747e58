"""Find what is wrong with the side pictures of one photo or of one garment picture, given as arrays.

All commands that read items use these checks: training and sampling raise the first fault that is not only a remark,
``preprocess_sift`` lists this fault with its pair, and ``check_data`` lists all faults. Colours and levels are judged
on a sample of rows and columns, so that the checks are quick enough to be always on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from siftvton.correspondence.regions import BODY_PARTS, GARMENT_PARTS, PART_COLOURS
from siftvton.data.layouts.base import (
    AGNOSTIC,
    AGNOSTIC_MASK,
    DENSEPOSE,
    GARMENT,
    GARMENT_MASK,
    GARMENT_PARSING,
    IMAGE,
    WORN_MASK,
)
from siftvton.data.layouts.polarity import GREY_TOLERANCE, MID_GREY, grey_shares, is_inverted, is_white
from siftvton.errors import InputError
from siftvton.files import decoded

SAME_PROPORTIONS = 0.02  # largest relative difference between the proportions of two pictures
SMALLEST = 16  # shorter side in pixels; a smaller picture shows nothing
JUDGED = 96  # approximate number of sampled rows or columns on the shorter side
PAINTED = 12  # levels; largest median distance of the painted region from mid-grey (JPEG: 0 or 1)
SAME_LEVELS = 16  # levels; largest difference between agnostic picture and photo outside the painted region
MISPLACED = 0.05  # share of wrong pixels in a mask's white and in the painted region; JPEG and resizing stay below it
SAME_PICTURE = 0.9  # share of equal levels; a mask with more is a copy of the agnostic picture
SHOWN = 60  # level of the brightest channel; a brighter pixel of a DensePose rendering is not background
STRAY_COLOUR = 60  # levels; a pixel farther from the nearest DensePose colour has none of these colours
STRAY_SHARE = 0.05  # share of such pixels; blurred edges of JPEG stay far below it
TYPICAL_COLOUR = 24  # levels; largest median distance from the nearest colour (other colour maps: 36 and more)
FLAT = 12  # levels; pixels of a garment picture this close to the colour of its border are background
LAST_PART = len(PART_COLOURS) - 1
# Category -> the parts of its garments, and GP-VTON's labels of them, in words.
PARSING_LABELS = {
    "upper_body": ("the torso or a sleeve", "torso 5, 6, 7; left sleeve 21; right sleeve 22"),
    "lower_body": ("trousers or a skirt", "left trouser leg 9; right trouser leg 10; skirt 13"),
    "dresses": ("a dress or a sleeve", "dress 5, 13, 24; left sleeve 21; right sleeve 22"),
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with one side picture.

    Attributes:
        kind: the kind of the picture, named like its folder.
        title: the fault, in the same words for every file that has it.
        remedy: what to do about it.
        detail: what was found in this file.
        remark: whether the item can be right in spite of the fault.
    """

    kind: str
    title: str
    remedy: str
    detail: str = ""
    remark: bool = False

    def of(self, path: Path) -> InputError:
        """Return the fault as an error of the file ``path``."""
        return InputError(f"{path}: {self.title}{self.detail and f' ({self.detail})'}; {self.remedy}")


def read_densepose(path: str | Path) -> np.ndarray:
    """Read a DensePose rendering, or a map of the labels 0 to 24, which is then drawn in the published colours.

    A label map is a grey or palette picture. A palette picture may also be a rendering; its colours show which it is.

    Returns:
        (height, width, 3) uint8, red first.

    Raises:
        InputError: the file is missing or truncated, or is neither a rendering nor a label map.
    """
    image = decoded(path, ("RGB", "L", "P"), "RGB, or a label map in grey or palette form")
    if image.mode == "RGB":
        return np.asarray(image)
    if image.mode == "P":
        colours = np.asarray(image.convert("RGB"))
        shown = _shown(_sample(colours))
        if len(shown) and not _is_off(_nearest_parts(shown)[1]):
            return colours
    labels = np.asarray(image)
    if image.format == "JPEG" or labels.max() > LAST_PART:
        raise InputError(
            f"{path}: has one channel with levels up to {labels.max()}, but is not a label map; save DensePose's "
            f"labels 0 to {LAST_PART} as a PNG, or draw them in colours (data/README.md)"
        )
    return PART_COLOURS[labels]


def person_faults(
    photo: np.ndarray | None,
    *,
    agnostic: np.ndarray | None = None,
    agnostic_mask: np.ndarray | None = None,
    densepose: np.ndarray | None = None,
    worn_mask: np.ndarray | None = None,
    any_size: bool = False,
    category: str = "upper_body",
) -> Iterator[Fault]:
    """Yield what is wrong with the pictures of a person; each of them may be None.

    Args:
        photo, agnostic, densepose: (height, width, 3) uint8, red first.
        agnostic_mask, worn_mask: (height, width) uint8.
        any_size: allow side pictures of any size with the proportions of the photo; this is always allowed for the
            worn mask.
        category: the category of the garment that the person tries on.
    """
    sides = {AGNOSTIC: agnostic, AGNOSTIC_MASK: agnostic_mask, DENSEPOSE: densepose}
    misfits = [
        *_small_faults(IMAGE, photo),
        *_size_faults(photo, "photo", sides, any_size),
        *_size_faults(photo, "photo", {WORN_MASK: worn_mask}, any_size=True),
    ]
    yield from misfits
    if misfits:
        return  # the checks below compare the pictures pixel by pixel
    faulty = False
    if agnostic_mask is not None:
        for fault in _agnostic_faults(photo, agnostic, agnostic_mask):
            faulty = True
            yield fault
    if densepose is not None:
        yield from _densepose_faults(_sample(densepose), category)
    if worn_mask is not None and agnostic_mask is not None and not faulty:
        yield from _worn_faults(worn_mask, agnostic_mask)


def garment_faults(
    garment: np.ndarray | None,
    *,
    garment_mask: np.ndarray | None = None,
    parsing: np.ndarray | None = None,
    category: str = "upper_body",
) -> Iterator[Fault]:
    """Yield what is wrong with the pictures of a garment; each of them may be None.

    Args:
        garment: (height, width, 3) uint8, red first.
        garment_mask: (height, width) uint8, of any size with the proportions of the garment picture.
        parsing: (height, width) uint8 labels, of any size with the same proportions.
        category: the garment's category.
    """
    sides = {GARMENT_MASK: garment_mask, GARMENT_PARSING: parsing}
    misfits = [*_small_faults(GARMENT, garment), *_size_faults(garment, "garment picture", sides, any_size=True)]
    yield from misfits
    if garment_mask is not None:
        yield from _garment_mask_faults(garment_mask, None if misfits else garment)
    if parsing is not None and not np.isin(parsing, sum(GARMENT_PARTS[category].values(), ())).any():
        missing, labels = PARSING_LABELS[category]
        yield Fault(
            GARMENT_PARSING,
            f"has no label of {missing}",
            f"use GP-VTON's labels: {labels}",
            f"labels {np.unique(parsing)[:12].tolist()}",
        )


def proportions_differ(picture: np.ndarray, height: int, width: int) -> bool:
    """Whether resizing ``picture`` to ``height`` × ``width`` would visibly squeeze it."""
    return abs(picture.shape[0] * width / (picture.shape[1] * height) - 1) > SAME_PROPORTIONS


def size_text(picture: np.ndarray) -> str:
    """Return height × width of a picture or a mask, pixels, for messages."""
    return f"{picture.shape[0]} × {picture.shape[1]}"


def _small_faults(kind: str, picture: np.ndarray | None) -> Iterator[Fault]:
    if picture is not None and min(picture.shape[:2]) < SMALLEST:
        yield Fault(
            kind,
            "is too small",
            "download it again, or remove it from the pair list",
            f"{size_text(picture)} pixels, height × width",
        )


def _size_faults(
    main: np.ndarray | None, name: str, sides: Mapping[str, np.ndarray | None], any_size: bool
) -> Iterator[Fault]:
    for kind, side in sides.items():
        if main is None or side is None or side.shape[:2] == main.shape[:2]:
            continue
        squeezed = proportions_differ(side, *main.shape[:2])
        if squeezed or not any_size:
            yield Fault(
                kind,
                f"has {'different proportions' if squeezed else 'a different size'} from its {name}",
                f"make it again from this {name}",
                f"it is {size_text(side)}, the {name} is {size_text(main)}, height × width",
            )


def _sample(picture: np.ndarray) -> np.ndarray:
    """Return a sample of a picture or a mask: equally spaced rows and columns."""
    step = max(1, min(picture.shape[:2]) // JUDGED)
    return np.ascontiguousarray(picture[::step, ::step])


def _fitted(picture: np.ndarray | None, like: np.ndarray) -> np.ndarray | None:
    """Resize the picture to the height and width of ``like``, by nearest pixels."""
    if picture is None or picture.shape[:2] == like.shape[:2]:
        return picture
    return cv2.resize(picture, like.shape[1::-1], interpolation=cv2.INTER_NEAREST)


def _white_fault(kind: str, mask: np.ndarray, meaning: str) -> Fault | None:
    """Return the fault of a mask without any white, or None."""
    if is_white(mask).any():
        return None
    highest = int(mask.max())
    if highest:
        remedy = f"white (255) means {meaning}; scale its levels to 0 and 255"
    else:
        remedy = f"white means {meaning}; make the mask again"
    return Fault(kind, "has no white region", remedy, f"its highest level is {highest} of 255")


def _agnostic_faults(photo: np.ndarray | None, agnostic: np.ndarray | None, mask: np.ndarray) -> Iterator[Fault]:
    """Check that the agnostic picture is grey where the mask is white, and shows the photo elsewhere."""
    no_white = _white_fault(AGNOSTIC_MASK, mask, "the region to paint")
    if no_white:
        yield no_white
    if no_white or agnostic is None:
        return
    mask = _sample(mask)
    agnostic, photo = _fitted(_sample(agnostic), mask), _fitted(None if photo is None else _sample(photo), mask)
    assert agnostic is not None, "it was not None before resizing"
    white = is_white(mask)
    in_white, in_black = grey_shares(agnostic, white)
    shares = f"{in_white:.0%} of its white and {in_black:.0%} of its black region are grey in {AGNOSTIC}"
    levels = cv2.cvtColor(agnostic, cv2.COLOR_RGB2GRAY)
    if (np.abs(levels.astype(np.int16) - mask) <= SAME_LEVELS).mean() > SAME_PICTURE:
        yield Fault(
            AGNOSTIC_MASK,
            f"is a copy of the {AGNOSTIC} picture",
            "save a black and white mask; white means the region to paint",
        )
    elif is_inverted(agnostic, white):
        yield Fault(AGNOSTIC_MASK, "has the wrong polarity", "white means the region to paint; invert the mask", shares)
    elif white.any() and np.median(np.abs(agnostic[white].astype(np.int16) - MID_GREY).max(axis=1)) > PAINTED:
        yield Fault(
            AGNOSTIC_MASK,
            "does not fit its agnostic picture",
            f"where the mask is white, {AGNOSTIC} must be mid-grey (128) and not show the photo; make both again",
            shares,
        )
    elif photo is not None and white.any() and not white.all():
        difference = np.median(np.abs(photo[~white].astype(np.int16) - agnostic[~white]))
        if difference > SAME_LEVELS:
            yield Fault(
                AGNOSTIC,
                "does not show its photo where nothing is painted",
                "it seems to show another person; make it again from this photo",
                f"they differ by {difference:.0f} of 255 levels there",
            )
            return
        unpainted, outside = _misplaced(photo, agnostic, white)
        if min(unpainted, outside) > MISPLACED:
            yield Fault(
                AGNOSTIC_MASK,
                "does not match the painted region of its agnostic picture",
                "it seems to be another person's mask, or shifted or mirrored; make it again from this photo",
                f"{unpainted:.0%} of its white region is not painted, {outside:.0%} of the painted region is black",
            )


def _misplaced(photo: np.ndarray, agnostic: np.ndarray, white: np.ndarray) -> tuple[float, float]:
    """Return the share of the mask's white that is not grey, and the share of the painted region that is not white.

    Both are 0 to 1. If a mask is only wider or only narrower than the painted region, only one of them is large.
    """
    grey = (np.abs(agnostic.astype(np.int16) - MID_GREY) <= GREY_TOLERANCE).all(axis=2)
    painted = grey & (np.abs(agnostic.astype(np.int16) - photo) > SAME_LEVELS).any(axis=2)
    outside = (painted & ~white).sum() / painted.sum() if painted.any() else 0.0
    return float((white & ~grey).sum() / white.sum()), float(outside)


def _shown(picture: np.ndarray) -> np.ndarray:
    """Return the pixels that are not black, (pixels, 3)."""
    return picture[picture.max(axis=2) > SHOWN]


def _nearest_parts(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of the nearest DensePose colours and the distances in levels: (pixels, 3) -> 2 × (pixels,)."""
    colours, parts = shown.astype(np.float32), PART_COLOURS.astype(np.float32)
    squares = (colours**2).sum(axis=1)[:, None] - 2 * colours @ parts.T + (parts**2).sum(axis=1)  # (pixels, 25)
    labels = squares.argmin(axis=1)
    return labels, np.sqrt(np.take_along_axis(squares, labels[:, None], axis=1)[:, 0].clip(0))


def _is_off(distances: np.ndarray) -> bool:
    return bool((distances > STRAY_COLOUR).mean() > STRAY_SHARE or np.median(distances) > TYPICAL_COLOUR)


def _densepose_faults(picture: np.ndarray, category: str) -> Iterator[Fault]:
    highest = int(picture.max())
    if 0 < highest <= LAST_PART and (picture == picture[:, :, :1]).all():
        yield Fault(
            DENSEPOSE,
            "has label numbers in three channels",
            f"save DensePose's labels 0 to {LAST_PART} in one channel, as a grey PNG, or draw them (data/README.md)",
            f"its highest level is {highest}",
        )
        return
    shown = _shown(picture)
    if len(shown) == 0:
        yield Fault(DENSEPOSE, "shows nobody", "without body parts, SIFT finds no match; draw it again", remark=True)
        return
    labels, distances = _nearest_parts(shown)
    if _is_off(distances):
        swapped = np.median(_nearest_parts(shown[:, ::-1])[1]) < np.median(distances)
        yield Fault(
            DENSEPOSE,
            "is not in DensePose's colours",
            "red and blue seem to be swapped; save it with red as the first channel"
            if swapped
            else "draw part i of 24 in OpenCV's PARULA colour ⌊i·255/24⌋ on black, red first (data/README.md)",
            f"the typical pixel is {np.median(distances):.0f} levels from the nearest of its 24 colours",
        )
    elif category == "lower_body":
        if not np.isin(labels, BODY_PARTS["right_leg"] + BODY_PARTS["left_leg"]).any():
            yield Fault(DENSEPOSE, "shows no legs", "without legs, SIFT finds no match; draw it again", remark=True)
    elif not np.isin(labels, BODY_PARTS["torso"]).any():
        yield Fault(
            DENSEPOSE,
            "shows no torso from the front",
            "this is right for a back view; otherwise draw it again",
            remark=True,
        )


def _worn_faults(worn_mask: np.ndarray, agnostic_mask: np.ndarray) -> Iterator[Fault]:
    """Check that the worn garment is in the region to paint."""
    no_white = _white_fault(WORN_MASK, worn_mask, "the garment as worn")
    worn = is_white(_sample(worn_mask))
    fitted = _fitted(_sample(agnostic_mask), worn)
    assert fitted is not None, "it was not None before resizing"
    paint = is_white(fitted)
    if no_white:
        yield no_white
    elif paint.any() and not paint.all() and worn[~paint].mean() > worn[paint].mean():
        yield Fault(
            WORN_MASK,
            "has the wrong polarity",
            "white means the garment as worn; invert the mask",
            f"{worn[paint].mean():.0%} of the region to paint is white, {worn[~paint].mean():.0%} of the rest",
        )


def _garment_mask_faults(mask: np.ndarray, garment: np.ndarray | None) -> Iterator[Fault]:
    """Check that the black region, not the white one, is the flat background that the picture's border shows."""
    no_white = _white_fault(GARMENT_MASK, mask, "the garment")
    if no_white:
        yield no_white
        return
    white = is_white(_sample(mask))
    garment = _fitted(None if garment is None else _sample(garment), white)
    border = np.ones_like(white)
    border[1:-1, 1:-1] = False
    if white[border].mean() <= 0.5 or garment is None or white.all():
        return
    background = (np.abs(garment - np.median(garment[border], axis=0)) < FLAT).all(axis=2)
    in_white, in_black = background[white].mean(), background[~white].mean()
    if in_white > in_black:
        yield Fault(
            GARMENT_MASK,
            "has the wrong polarity",
            "white means the garment; invert the mask",
            f"{in_white:.0%} of its white and {in_black:.0%} of its black region are background",
        )
