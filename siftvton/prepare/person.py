"""A photo -> what the network needs of a person: mask, agnostic picture and DensePose in the network's proportions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siftvton.data.layouts import CATEGORIES
from siftvton.data.layouts.polarity import is_white
from siftvton.data.sides import SMALLEST, person_faults, size_text
from siftvton.errors import InputError
from siftvton.prepare.category_mask import category_mask
from siftvton.prepare.config import PhotoConfig
from siftvton.prepare.finder import Finder
from siftvton.prepare.framing import Box, Framing, border_colour, box_of
from siftvton.prepare.garment import on_white
from siftvton.prepare.given import GivenSides
from siftvton.prepare.joints import Joints, largest
from siftvton.prepare.mask import AgnosticMask, agnostic_mask, agnostic_picture
from siftvton.prepare.rendering import draw_parts

# What is beyond the outermost joints (hands; head and feet), as shares of the distance between the shoulders.
SPACE = (0.5, 0.75)  # to the sides; above and below
LEAST_BREADTH = 0.15  # share of the height from the highest to the lowest joint, for persons seen from the side
SHARP = 256  # pixels; a photo with fewer rows looks blurred at the size of the network


@dataclass(frozen=True, eq=False)
class PreparedPerson:
    """What is known of a person. All pictures have the size of the framed photo, and the joints are in its pixels.

    Attributes:
        photo: (height, width, 3) uint8, red first: the framed photo.
        mask: (height, width) uint8, 255 where try-on paints, else 0.
        agnostic: (height, width, 3) uint8: the photo, mid-grey where the mask is white.
        densepose: (height, width, 3) uint8, DensePose's parts in the published colours; None: not known.
        joints: None: not known.
        parsing: (height, width) uint8, labels in CIHP's numbers; None: not known.
        framing: the way back into the photo.
        remarks: sentences that the user should know.
    """

    photo: np.ndarray
    mask: np.ndarray
    agnostic: np.ndarray
    densepose: np.ndarray | None
    joints: Joints | None
    parsing: np.ndarray | None
    framing: Framing
    remarks: tuple[str, ...]


def prepare_person(
    photo: np.ndarray, given: GivenSides | None = None, finder: Finder | None = None, config: PhotoConfig | None = None
) -> PreparedPerson:
    """Make what the network needs of a photo. What is given is used; the models find the rest.

    Args:
        photo: (height, width, 3) or, with opacity, (height, width, 4) uint8.
        given: what is known already; None: nothing.
        finder: the models; None: no models.
        config: how to frame the photo.

    Raises:
        InputError: there is no mask and none can be made: nobody was found, or joints are missing. The message names
            no file.
    """
    given, finder, config = given or GivenSides(), finder or Finder(None), config or PhotoConfig()
    photo = on_white(photo)
    size = photo.shape[0], photo.shape[1]
    if min(size) < SMALLEST:
        raise InputError(f"is too small ({size_text(photo)} pixels, height × width); use a larger photo")
    joints, box, remarks = _person(photo, given, finder)
    framing = _framing(size, box, given, config)

    shown = framing.apply(photo, border_colour(photo))
    joints = None if joints is None else joints.moved(framing.points)
    parsing = None if given.parsing is None else framing.apply(given.parsing, 0, labels=True)
    if given.mask is not None:
        mask = _framed_mask(framing, given.mask)
    elif joints is not None:
        parsing = finder.parsing(shown) if parsing is None else parsing
        person_mask = None if given.person_mask is None else _framed_mask(framing, given.person_mask)
        drawn = _drawn_mask(config.category, joints, parsing, framing.size, person_mask)
        mask = drawn.mask
        remarks += drawn.remarks
    else:
        raise InputError(
            "its joints are not known; give OpenPose's file or an agnostic mask, or models that find joints "
            "(models.detector and models.pose)"
        )
    if framing.size[0] < SHARP:
        remarks.append(f"the framed photo has only {framing.size[0]} rows of pixels, so the result is blurred")

    agnostic = agnostic_picture(shown, mask)
    densepose, more = _densepose(shown, framing, box, given, finder)
    remarks += more
    for fault in person_faults(
        shown, agnostic=agnostic, agnostic_mask=mask, densepose=densepose, category=config.category
    ):
        if not fault.remark:
            raise fault.of(Path(fault.kind))
        remarks.append(str(fault.of(Path(fault.kind))))
    return PreparedPerson(shown, mask, agnostic, densepose, joints, parsing, framing, tuple(remarks))


def _drawn_mask(
    category: str, joints: Joints, parsing: np.ndarray | None, size: tuple[int, int], person_mask: np.ndarray | None
) -> AgnosticMask:
    """Draw the mask by VITON-HD's rules for upper bodies, else by DressCode's, which require a parsing.

    Raises:
        InputError: no mask can be drawn from what is known.
    """
    if category == CATEGORIES[0]:
        return agnostic_mask(joints, parsing, size, person_mask)
    if parsing is None:
        raise InputError(
            f"a mask for category={category} requires parsing labels; give them, or a model that finds them "
            "(models.parsing)"
        )
    return category_mask(category, joints, parsing, size)


def _person(photo: np.ndarray, given: GivenSides, finder: Finder) -> tuple[Joints | None, Box | None, list[str]]:
    """Return joints and box of the largest person in the photo, as far as they are needed, and remarks.

    Raises:
        InputError: nobody was found, and no mask is given.
    """
    if given.persons is not None:
        joints = largest(given.persons)
        return joints, _box_around(joints, photo), _several(len(given.persons))
    if given.mask is not None and given.densepose is not None:
        return None, box_of(np.any(given.densepose, axis=2)), []
    boxes = finder.persons(photo)
    if boxes == [] and given.mask is None:
        raise InputError("shows no person; use a photo of one person from head to hips")
    box = boxes[0] if boxes else None
    found = finder.joints(photo, box or _whole(photo)) if given.mask is None else None
    if box is None and found is not None:
        box = _box_around(found, photo)
    return found, box, _several(len(boxes or ()))


def _framing(size: tuple[int, int], box: Box | None, given: GivenSides, config: PhotoConfig) -> Framing:
    """Return the window around the person and all that is painted; around everything, if the person is not known."""
    painted = None if given.mask is None else box_of(is_white(given.mask))
    if box is None or config.framing == "pad":
        return Framing.whole(size, config.largest)
    if painted is not None:
        box = (*np.minimum(box[:2], painted[:2]).tolist(), *np.maximum(box[2:], painted[2:]).tolist())
    return Framing.around(size, box, config.largest)


def _framed_mask(framing: Framing, mask: np.ndarray) -> np.ndarray:
    return is_white(framing.apply(mask, 0)).astype(np.uint8) * 255


def _densepose(
    shown: np.ndarray, framing: Framing, box: Box | None, given: GivenSides, finder: Finder
) -> tuple[np.ndarray | None, list[str]]:
    """Return DensePose's rendering of the framed photo, or None and the reason."""
    if given.densepose is not None:
        return framing.apply(given.densepose, 0, labels=True), []
    try:
        parts = finder.densepose(shown, _whole(shown) if box is None else framing.framed_box(box))
    except InputError as error:
        return None, [str(error)]
    if parts is None:
        return None, ["there is no DensePose picture, which try-on requires; give one, or a model (models.densepose)"]
    return draw_parts(parts), []


def _whole(photo: np.ndarray) -> Box:
    return 0.0, 0.0, float(photo.shape[1]), float(photo.shape[0])


def _several(count: int) -> list[str]:
    if count < 2:
        return []
    return [f"shows {count} persons; the largest one is dressed (to dress another, cut the photo around that person)"]


def _box_around(joints: Joints, photo: np.ndarray) -> Box:
    """Return a box that holds head, hands and feet as well, for which there are no joints."""
    if not joints.has("right_shoulder", "left_shoulder"):
        return _whole(photo)
    places = np.array(list(joints.points.values()))
    breadth = float(np.linalg.norm(joints["right_shoulder"] - joints["left_shoulder"]))
    space = np.array(SPACE) * max(breadth, LEAST_BREADTH * np.ptp(places[:, 1]))
    left, top = (places.min(axis=0) - space).tolist()
    right, bottom = (places.max(axis=0) + space).tolist()
    return left, top, right, bottom
