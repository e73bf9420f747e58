"""Parsing labels: what each pixel of a photo shows. The project uses CIHP's numbers; LIP and ATR are translated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from siftvton.errors import InputError
from siftvton.prepare.joints import Joints

Scheme = Literal["cihp", "lip", "atr"]

# Left and right are the person's own.
_CIHP_NAMES = (
    *("background", "hat", "hair", "glove", "sunglasses", "upper_clothes", "dress", "coat", "socks", "trousers"),
    *("torso_skin", "scarf", "skirt", "face", "left_arm", "right_arm", "left_leg", "right_leg"),
    *("left_shoe", "right_shoe"),
)
CIHP = {name: number for number, name in enumerate(_CIHP_NAMES)}
# (20, 3) the colours in which CIHP's and VITON-HD's files show the labels, red first.
CIHP_COLOURS = np.array(
    [
        *((0, 0, 0), (128, 0, 0), (254, 0, 0), (0, 85, 0), (169, 0, 51), (254, 85, 0), (0, 0, 85), (0, 119, 220)),
        *((85, 85, 0), (0, 85, 85), (85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 254), (51, 169, 220)),
        *((0, 254, 254), (85, 254, 169), (169, 254, 85), (254, 254, 0), (254, 169, 0)),
    ],
    np.uint8,
)
# DressCode's own numbers, those of ATR.
_ATR_NAMES = (
    *("background", "hat", "hair", "sunglasses", "upper_clothes", "skirt", "trousers", "dress", "belt"),
    *("left_shoe", "right_shoe", "face", "left_leg", "right_leg", "left_arm", "right_arm", "bag", "scarf"),
)
ATR = {name: number for number, name in enumerate(_ATR_NAMES)}
# The CIHP label of each label of a scheme, in the scheme's order.
_CIHP_OF = {
    "cihp": _CIHP_NAMES,
    # LIP has a jumpsuit in the place of CIHP's torso skin.
    "lip": tuple("dress" if name == "torso_skin" else name for name in _CIHP_NAMES),
    # ATR's belt belongs to the trousers; CIHP has no bag.
    "atr": tuple({"belt": "trousers", "bag": "background"}.get(name, name) for name in _ATR_NAMES),
}
# From the nose to the chin, as a share of the distance from nose to neck. On six persons of VITON-HD, cutting a face
# that reaches down the neck at this distance gives a mask with an IoU of 0.995 to 0.999 with the reference.
CHIN = 0.45


def to_cihp(labels: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Return parsing labels in CIHP's numbers.

    Args:
        labels: (height, width) uint8.
        scheme: the numbers in ``labels``: of CIHP, LIP or ATR.

    Returns:
        (height, width) uint8.

    Raises:
        InputError: there is a label that the scheme does not have. The message does not name the file.
    """
    names = _CIHP_OF[scheme]
    if (highest := int(labels.max(initial=0))) >= len(names):
        raise InputError(
            f"the parsing has label {highest}, but {scheme.upper()} has only 0 to {len(names) - 1}; "
            "give a label map, not colours, and name its scheme"
        )
    return np.array([CIHP[name] for name in names], np.uint8)[labels]


def guess_scheme(labels: np.ndarray, joints: Joints | None = None) -> Scheme | None:
    """Return the scheme of parsing labels if it is certain, else None.

    LIP is returned as CIHP: they differ only in label 10, which no mask leaves out. ATR has no labels 18 and 19.
    Otherwise, the label at the nose tells the scheme: a face is 13 in CIHP and 11 in ATR.

    Args:
        labels: (height, width) uint8.
        joints: the joints of the person, in pixels of ``labels``; None: unknown.
    """
    if int(labels.max(initial=0)) >= len(_CIHP_OF["atr"]):
        return "cihp"
    if joints is not None and joints.has("nose"):
        column, row = joints["nose"].astype(int)
        if 0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]:
            faces: Mapping[int, Scheme] = {CIHP["face"]: "cihp", ATR["face"]: "atr"}
            return faces.get(int(labels[row, column]))
    return None


def with_neck(labels: np.ndarray, joints: Joints) -> np.ndarray:
    """Return CIHP labels in which the neck is torso skin, not face.

    ATR and LIP have no torso skin, so that their face reaches down the neck. Then everything of the face that is below
    the nose and farther from it than the chin is the neck. Labels with torso skin, or without a nose, stay as they are.

    Args:
        labels: (height, width) uint8, CIHP's numbers.
        joints: the joints of the person, in pixels of ``labels``.
    """
    if not joints.has("nose", "neck") or (labels == CIHP["torso_skin"]).any():
        return labels
    y, x = np.ogrid[: labels.shape[0], : labels.shape[1]]
    nose_x, nose_y = joints["nose"]
    neck = (labels == CIHP["face"]) & (y > nose_y) & (np.hypot(x - nose_x, y - nose_y) > chin_distance(joints))
    return np.where(neck, np.uint8(CIHP["torso_skin"]), labels)


def chin_distance(joints: Joints) -> float:
    """Return the distance from the nose to the chin in pixels, estimated from nose and neck."""
    return CHIN * float(np.linalg.norm(joints["neck"] - joints["nose"]))
