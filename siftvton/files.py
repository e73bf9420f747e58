"""Files appear whole or not at all; pictures are read strictly."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from siftvton.errors import InputError, UsageError


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; on success it takes ``path``'s place, on an error it goes.

    Works for a file and for a folder (the caller makes the folder). The suffix is kept, since encoders read it.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a file stands in the way, or nothing may be written here
        raise UsageError(f"{path.parent}: cannot be made a folder ({error.strerror}); name another output") from error
    # One name, so that what a killed process left is written over. One process at a time writes a path.
    beside = path.with_name(f".{path.stem}.part{path.suffix}")
    if beside.is_dir():
        shutil.rmtree(beside)
    try:
        yield beside
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(beside, path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        else:
            beside.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """Hexadecimal digest of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_text(path: str | Path, text: str) -> None:
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write JSON, which has no NaN and no infinity: either raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; the caller checks its form.

    Raises:
        InputError: the file is missing or not JSON, or holds NaN or infinity.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return json_value(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise InputError(f"{path}: not JSON ({error}); delete the file, or write it again") from error


def json_value(text: str) -> Any:
    """What JSON text holds. Raises ValueError for anything else, NaN and infinity included."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("too many levels") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _decoded(path: Path, modes: tuple[str, ...], wanted: str) -> np.ndarray:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            mode = image.mode
            if mode in modes:
                ImageOps.exif_transpose(image, in_place=True)
                return np.asarray(image)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: cannot be decoded ({error}); save or download it again") from error
    raise InputError(f"{path}: picture has mode {mode}, wanted {wanted}; convert it")


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a colour picture. ``size`` (height, width) is what to resize to, OpenCV bilinear; None: as it is.

    Returns:
        (height, width, 3) uint8, red first.

    Raises:
        InputError: the file is missing, truncated, grey or has transparency.
    """
    image = _decoded(Path(path), ("RGB",), "RGB (three 8-bit channels)")
    return image if size is None else cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def read_grey(path: str | Path) -> np.ndarray:
    """Read a mask as (height, width) uint8 grey levels; a colour file counts by its luminance."""
    image = _decoded(Path(path), ("L", "1", "RGB"), "grey or RGB")
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def read_labels(path: str | Path) -> np.ndarray:
    """Read a label map as (height, width) uint8: palette indices, grey levels or the red channel."""
    image = _decoded(Path(path), ("P", "L", "RGB"), "palette, grey or RGB")
    return image if image.ndim == 2 else np.ascontiguousarray(image[:, :, 0])


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (height, width[, 3]) uint8, red first, by the suffix's format; JPEG at OpenCV's quality of 95."""
    path = Path(path)
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    with written_whole(path) as beside:
        if not cv2.imwrite(str(beside), pixels):
            raise OSError(f"{path}: could not be written")
