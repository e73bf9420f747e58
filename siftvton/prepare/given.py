"""What a user has already for a photo or a garment: files of other programs, read and brought to the picture's size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from siftvton.data.layouts.polarity import is_white
from siftvton.data.sides import proportions_differ, read_densepose, size_text
from siftvton.errors import InputError
from siftvton.files import decoded, read_grey, read_labels
from siftvton.prepare.framing import border_pixels
from siftvton.prepare.joints import Joints, largest, read_openpose
from siftvton.prepare.labels import Scheme, guess_scheme, to_cihp

COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "L", "LA")
OUTSIDE = 0.02  # share of the photo's side by which a joint may be beyond its edge


@dataclass(frozen=True, eq=False)
class GivenSides:
    """What is known of a photo before any model is asked; each is None if it is not given.

    Attributes:
        persons: the joints of all persons in the photo, in its pixels.
        parsing: (height, width) uint8 of the photo's size, labels in CIHP's numbers.
        densepose: (height, width, 3) uint8 of the photo's size, DensePose's parts in the published colours.
        mask: (height, width) uint8 of the photo's size, an agnostic mask: 255 where try-on paints, else 0.
        person_mask: (height, width) uint8 of the photo's size: 255 on the person, else 0.
    """

    persons: tuple[Joints, ...] | None = None
    parsing: np.ndarray | None = None
    densepose: np.ndarray | None = None
    mask: np.ndarray | None = None
    person_mask: np.ndarray | None = None


def read_given(
    photo: np.ndarray,
    *,
    pose: Path | None = None,
    parsing: Path | None = None,
    densepose: Path | None = None,
    mask: Path | None = None,
    person_mask: Path | None = None,
    scheme: str = "auto",
) -> GivenSides:
    """Read the files that belong to a photo.

    Pictures may have another size than the photo if they have its proportions. They show the photo as it is after its
    EXIF orientation is applied, which is how other programs read it.

    Args:
        photo: (height, width, 3) uint8.
        pose: a JSON file of OpenPose or DressCode.
        parsing: a picture of labels.
        densepose: a rendering in the published colours, or a picture of the labels 0 to 24.
        mask: an agnostic mask; white means: paint here.
        person_mask: white means: the person.
        scheme: the numbers of the parsing's labels: ``cihp``, ``lip``, ``atr``, or ``auto`` to recognise them where
            this is certain and to take CIHP's elsewhere.

    Raises:
        InputError: a file is missing, damaged, of another form, or of another photo.
    """
    persons = None if pose is None else _read_joints(pose, photo)
    return GivenSides(
        persons=persons,
        parsing=None if parsing is None else _read_parsing(parsing, photo, scheme, persons),
        densepose=_read(densepose, photo, read_densepose),
        mask=_read(mask, photo, _read_agnostic_mask),
        person_mask=_read(person_mask, photo, read_mask),
    )


def read_photo(path: str | Path) -> np.ndarray:
    """Read a picture of any colour mode but CMYK, with its EXIF orientation applied.

    Returns:
        (height, width, 3) uint8, red first; (height, width, 4) if the file has transparency, the opacity last.

    Raises:
        InputError: the file is missing, damaged or of another format or mode.
    """
    image = decoded(path, COLOUR_MODES, "RGB (three 8-bit channels)")
    has_transparency = image.mode.endswith("A") or "transparency" in image.info
    mode = "RGBA" if has_transparency else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode))


def read_mask(path: str | Path) -> np.ndarray:
    """Read a mask as (height, width) uint8, 255 where it is white, else 0; raises as ``read_grey``.

    Raises:
        InputError: also if nothing in it is white.
    """
    return white_mask(read_grey(path), path)


def white_mask(grey: np.ndarray, source: str | Path) -> np.ndarray:
    """Return a mask of the same size as its grey levels (height, width) uint8: 255 where they are white, else 0.

    Args:
        source: where the levels come from, for the message.

    Raises:
        InputError: nothing is white.
    """
    white = is_white(grey)
    if not white.any():
        raise InputError(f"{source}: has no white region; scale its levels to 0 and 255, or make it again")
    return white.astype(np.uint8) * 255


def paint_mask(grey: np.ndarray, source: str | Path) -> np.ndarray:
    """Return an agnostic mask; arguments and result as for :func:`white_mask`.

    Raises:
        InputError: nothing is white, or everything or most of the border is.
    """
    mask = white_mask(grey, source)
    if is_white(mask).all():
        raise InputError(
            f"{source}: is white everywhere, so nothing of the photo would stay; paint only what may change"
        )
    if is_white(border_pixels(mask)).mean() > 0.5:
        raise InputError(
            f"{source}: is white along most of its border, so it seems to have the wrong polarity; white means the "
            "region to paint: invert the mask"
        )
    return mask


def read_garment_mask(path: str | Path, picture: np.ndarray) -> np.ndarray:
    """Read the mask of a garment as (height, width) uint8 of its picture's size; raises as :func:`read_mask`.

    Raises:
        InputError: also if it has other proportions than the picture.
    """
    return fitted(read_mask(path), picture, path, "garment picture")


def fitted(side: np.ndarray, picture: np.ndarray, source: str | Path, name: str) -> np.ndarray:
    """Resize a side picture to its picture's size, by nearest pixels.

    Args:
        side, picture: (height, width[, channels]) uint8.
        source: where the side picture comes from, for the message.
        name: what the picture is, for the message.

    Raises:
        InputError: their proportions differ.
    """
    height, width = picture.shape[:2]
    if side.shape[:2] == (height, width):
        return side
    if proportions_differ(side, height, width):
        raise InputError(
            f"{source}: has different proportions from its {name} (it is {size_text(side)}, the {name} is "
            f"{size_text(picture)}, height × width); make it again from this {name}"
        )
    return cv2.resize(side, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _read(path: Path | None, photo: np.ndarray, read: Callable[[Path], np.ndarray]) -> np.ndarray | None:
    return None if path is None else fitted(read(path), photo, path, "photo")


def _read_parsing(path: Path, photo: np.ndarray, scheme: str, persons: tuple[Joints, ...] | None) -> np.ndarray:
    """Read a parsing picture as labels in CIHP's numbers."""
    labels = fitted(read_labels(path), photo, path, "photo")
    if scheme == "auto":
        scheme = guess_scheme(labels, largest(persons) if persons else None) or "cihp"
    try:
        return to_cihp(labels, cast(Scheme, scheme))
    except InputError as error:
        raise InputError(f"{path}: {error} (parsing_labels)") from error


def _read_agnostic_mask(path: Path) -> np.ndarray:
    return paint_mask(read_grey(path), path)


def _read_joints(path: Path, photo: np.ndarray) -> tuple[Joints, ...]:
    """Read the joints of all persons.

    Raises:
        InputError: also if a joint is outside the photo.
    """
    height, width = photo.shape[:2]
    persons = tuple(read_openpose(path, (height, width)))
    for joints in persons:
        for name, (x, y) in joints.points.items():
            if not all(-OUTSIDE <= share <= 1 + OUTSIDE for share in (x / width, y / height)):
                raise InputError(
                    f"{path}: the {name.replace('_', ' ')} at ({x:.0f}, {y:.0f}) is outside its photo of "
                    f"{size_text(photo)} pixels (height × width); find the joints again in this photo"
                )
    return persons
