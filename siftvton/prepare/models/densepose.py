"""Body parts: DensePose as a TorchScript program, which needs no detectron2.

The program takes a picture (3, height, width) uint8, blue first, and returns for N persons, in this order: boxes
(N, 4) of left, top, right and bottom edges in pixels; coarse segmentations (N, 2 or 15, h, w); fine segmentations
(N, 25, h, w); and the coordinates on the body's surface, which are not used here.
"""

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torchvision  # noqa: F401, it registers operators that the program calls
from torch import Tensor
from torchvision.ops import box_iou

from siftvton.errors import InputError
from siftvton.files import read_bytes
from siftvton.prepare.models.files import ModelFiles, broken, find
from siftvton.prepare.published import DENSEPOSE, DENSEPOSE_SHA256
from siftvton.prepare.rendering import Box, part_labels

PARTS = 25  # the background and 24 body parts
SIDE = 512  # pixels; the program works best with persons of about this height
MARGIN = 1 / 8  # space around the person's box, as a share of its longer side: VITON-HD's persons fill 80 % of a photo
MEAN = (103, 116, 124)  # blue, green, red: detectron2 fills the space around a picture with this colour
LEAST_OVERLAP = 0.3  # intersection over union of the person's box and the box that the program finds


@dataclass(frozen=True)
class Program:
    files: ModelFiles
    run: Any
    device: torch.device


def load_densepose(source: str | None, allowed: str | None, device: torch.device) -> Program:
    """Load the TorchScript file.

    Args:
        source: the key ``models.densepose``.
        allowed: SHA-256 of another file that may be loaded. A TorchScript file is a program, so others are refused.
        device: where the program runs.

    Raises:
        InputError: the file cannot be had, is not a known one, or is not TorchScript.
    """
    files = find("densepose", source)
    content = read_bytes(files.paths[0])  # checked and loaded from memory: nobody can change it in between
    digest = hashlib.sha256(content).hexdigest()
    if digest not in (DENSEPOSE_SHA256, (allowed or "").lower()):
        raise InputError(
            f"{files.key}: is a program, and not the known one, so it was not run; use {DENSEPOSE.source}, or, if you "
            f"trust this file, models.densepose_sha256={digest}"
        )
    with broken(files, "loaded"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that TorchScript is deprecated
        return Program(files, torch.jit.load(io.BytesIO(content), map_location=device).eval(), device)


def densepose(program: Program, photo: np.ndarray, box: Box) -> np.ndarray:
    """The body parts of the person in a box: (height, width) uint8, 0 for background, 1 to 24 as DensePose counts.

    Args:
        photo: (height, width, 3) uint8, red first.
        box: the person's box.

    Raises:
        InputError: the program finds no person there, or returns something else than DensePose does.
    """
    crop, corner = _around(photo, box)
    canvas, scale = _canvas(crop)
    boxes, coarse, fine = _outputs(program, canvas)
    offset = np.array([*corner, *corner])
    own = torch.from_numpy((np.array(box) - offset) * scale)[None]  #              (1, 4)
    overlaps = box_iou(own, boxes)[0]  #                                            (N,)
    if not len(overlaps) or not overlaps.max() >= LEAST_OVERLAP:  # also false for NaN
        raise InputError(
            "DensePose finds no person where the detector finds one; use a photo that shows the whole body"
        )
    best = int(overlaps.argmax())
    left, top, right, bottom = (boxes[best].numpy() / scale + offset).tolist()
    height, width = photo.shape[:2]
    return part_labels(coarse[best].numpy(), fine[best].numpy(), (left, top, right, bottom), (height, width))


def _around(photo: np.ndarray, box: Box) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of a photo around a box, and its left and top edge in the photo."""
    left, top, right, bottom = box
    margin = MARGIN * max(right - left, bottom - top)
    first_x, first_y = max(0, int(left - margin)), max(0, int(top - margin))
    last_x, last_y = int(np.ceil(right + margin)), int(np.ceil(bottom + margin))
    part = photo[first_y:last_y, first_x:last_x]
    assert part.size, f"the box {box} is outside the photo"
    return part, (first_x, first_y)


def _canvas(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture, blue first, in the upper left corner of a square of ``SIDE``; and its enlargement.

    The size is the same for all photos, since TorchScript compiles its program for each new size.
    """
    scale = SIDE / max(picture.shape[:2])
    size = [max(1, round(side * scale)) for side in picture.shape[:2]]
    canvas = np.full((SIDE, SIDE, 3), MEAN, np.uint8)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[: size[0], : size[1]] = cv2.resize(picture, size[::-1], interpolation=how)[:, :, ::-1]
    return canvas, scale


@torch.inference_mode()
def _outputs(program: Program, picture: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4) float64, coarse (N, 2 or 15, h, w) and fine segmentations (N, 25, h, w) on the CPU."""
    with broken(program.files, "run"):
        outputs = program.run(torch.from_numpy(picture).permute(2, 0, 1).contiguous().to(program.device))
    tensors = outputs[:3] if isinstance(outputs, (tuple, list)) else ()
    if len(tensors) < 3 or not all(isinstance(each, Tensor) for each in tensors):
        raise InputError(f"{program.files.key}: does not return {_FORM}; use {DENSEPOSE.source}")
    boxes, coarse, fine = (each.float().cpu() for each in tensors)
    persons = len(boxes)
    if (
        boxes.shape != (persons, 4)
        or coarse.ndim != 4
        or fine.ndim != 4
        or coarse.shape[:2] not in ((persons, 2), (persons, 15))
        or fine.shape[:2] != (persons, PARTS)
    ):
        shapes = ", ".join(str(tuple(each.shape)) for each in (boxes, coarse, fine))
        raise InputError(f"{program.files.key}: returns tensors of {shapes}, not {_FORM}; use {DENSEPOSE.source}")
    return boxes.double(), coarse, fine


_FORM = "boxes (N, 4), coarse segmentations (N, 2 or 15, h, w) and fine ones (N, 25, h, w)"
