"""Write files completely or not at all, read regular files only, and check pictures strictly."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import struct
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from siftvton.errors import REMEDIES, InputError, UsageError, first_line

if sys.platform != "win32":
    import fcntl

# Only these Pillow plugins may read a file: others start programs (Ghostscript for PostScript) or open further files.
# Browsers and phones save one of these formats; a phone's MPO counts as JPEG.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP")
# Pillow documents only OSError; damaged headers and EXIF tags also raise the others.
_PILLOW_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, EOFError, ArithmeticError),
    *(AssertionError, RuntimeError, MemoryError, struct.error, Image.DecompressionBombError),
)
COLOURED = 48  # levels; a pixel with a larger difference between its channels is not grey
COLOURED_SHARE = 0.005  # share of such pixels; a mask saved as a colour JPEG stays below it

_BESIDE = ".siftvton-part-"  # prefix of the names of unfinished files and folders
_SWEPT: set[Path] = set()  # folders from which this process has removed the unfinished files of other processes
_DAY = 24 * 3600  # seconds


def is_file(path: str | Path) -> bool:
    """Whether ``path`` is a regular file, or a link to one.

    Raises:
        InputError: this cannot be found out: a folder in the path may not be entered, or the name is too long.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise _cannot_read(path, error) from error


def open_file(path: str | Path, remedy: str = "") -> BinaryIO:
    """Open a regular file for reading; refuse a pipe or a device, which could block for ever.

    Args:
        path: the file.
        remedy: what to do if there is no such file, for the message.

    Raises:
        InputError: the file is missing, is not a regular file, or may not be read.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file{remedy and '; '}{remedy}") from error
    except (OSError, ValueError) as error:
        raise _cannot_read(path, error) from error
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
    raise InputError(f"{path}: is {kind}, not a file{remedy and '; '}{remedy}")


def read_bytes(path: str | Path, remedy: str = "") -> bytes:
    """Return the content of a regular file; raises as :func:`open_file`."""
    with open_file(path, remedy) as file:
        try:
            return file.read()
        except OSError as error:
            raise _cannot_read(path, error) from error


def _cannot_read(path: str | Path, error: OSError | ValueError) -> InputError:
    return InputError(f"{path}: cannot be read ({_reason(error)}); check the path and its permissions")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


def cannot_write(path: str | Path, error: OSError) -> InputError:
    """Return the error to raise if ``path`` could not be written."""
    remedy = REMEDIES.get(error.errno or 0, "name an output that you may write to")
    return InputError(f"{path}: cannot be written ({error.strerror or first_line(error)}); {remedy}")


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path for a file or a folder; on success it replaces ``path``, on an error it is removed.

    The temporary path is beside ``path`` and hidden. Nobody can predict its name, so nobody can plant a link there. It
    keeps the suffix of ``path``, since encoders read it. If two writers write at once, the later one wins. If ``path``
    is a symbolic link, its target is replaced and the link stays. To write a folder, the caller makes the folder; it
    replaces only a folder.

    Raises:
        UsageError: the parent folder of ``path`` cannot be made.
        InputError: the disk is full, or the folder may not be written to.
    """
    folder = os.path.dirname(path)
    try:
        target = Path(os.path.realpath(path))  # a rename works only on the same disk, so write beside the link's target
        folder = str(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # a file is in the way, no permission, or a null character
        raise UsageError(f"{folder}: this folder cannot be made ({_reason(error)}); name another output") from error
    suffix = target.suffix if len(target.suffix) <= len(".safetensors") else ""
    new, old = (target.with_name(f"{_BESIDE}{secrets.token_hex(8)}{suffix}") for _ in range(2))
    try:
        with _writing_in(target.parent):
            try:
                yield new
                _move(new, target, old)
            finally:
                _remove(new)
                _remove(old)
    except OSError as error:
        raise cannot_write(path, error) from error


def _move(new: Path, target: Path, old: Path) -> None:
    """Rename ``new`` to ``target``; an existing folder ``target`` is first renamed to ``old``."""
    for _ in range(100):  # another writer may put its own folder there between the two renames
        if new.is_dir() and target.is_dir():
            _remove(old)
            with suppress(FileNotFoundError):
                os.replace(target, old)
        try:
            return os.replace(new, target)
        except OSError:
            if not (new.is_dir() and target.is_dir()):
                raise
    raise OSError(errno.EBUSY, "other processes keep writing there")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def _writing_in(folder: Path) -> Iterator[None]:
    """Share a lock on ``folder`` with other writers; the system releases it when the process ends in any way."""
    if folder not in _SWEPT:
        _sweep(folder)
    descriptor = _lock(folder, alone=False)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove the unfinished files that killed writers left in ``folder``, once for each process and folder.

    While the lock is held exclusively, nobody else writes there. If a folder cannot be locked (Windows, NFS), only
    files that are more than a day old are removed, since they have no writer any more.
    """
    with suppress(BlockingIOError):  # somebody is writing: the next write tries again
        descriptor = _lock(folder, alone=True)
        _SWEPT.add(folder)
        for path in folder.glob(f"{_BESIDE}*"):
            with suppress(FileNotFoundError):
                if descriptor is not None or time.time() - path.lstat().st_mtime > _DAY:
                    _remove(path)
        if descriptor is not None:
            os.close(descriptor)


def _lock(folder: Path, alone: bool) -> int | None:
    """Lock a folder until the returned descriptor is closed; return None if the system has no such locks.

    Args:
        folder: the folder.
        alone: take the lock exclusively, instead of sharing it.

    Raises:
        BlockingIOError: others hold the lock, and ``alone`` is set.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a folder may be writable but not readable
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal; raises as :func:`open_file`."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        try:
            while block := file.read(2**20):
                digest.update(block)
        except OSError as error:
            raise _cannot_read(path, error) from error
    return digest.hexdigest()


def write_text(path: str | Path, text: str) -> None:
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: object) -> None:
    """Write a value as JSON. Raises ValueError for NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file; the caller checks its form.

    Raises:
        InputError: the file is missing or not JSON, or contains NaN or infinity.
    """
    try:
        return json_value(read_bytes(path).decode("utf-8-sig"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise InputError(f"{path}: not JSON ({error}); copy the file again, or make it again") from error


def json_value(text: str) -> Any:
    """Return the value of a JSON text. Raises ValueError for any other text, and for NaN and infinity."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("too many levels") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def decoded(path: str | Path, modes: tuple[str, ...], wanted: str) -> Image.Image:
    """Decode a JPEG, PNG or WebP picture and apply its EXIF orientation.

    Args:
        path: the file.
        modes: the allowed Pillow modes.
        wanted: the allowed modes in words, for the message.

    Raises:
        InputError: the file is missing, damaged, of another format or of another mode.
    """
    with open_file(path) as file, _pillow_errors(path):
        image = _opened(file, path)
        if image.format == "PNG":  # Pillow checks PNG check sums only in verify()
            image.verify()
            file.seek(0)
            image = _opened(file, path)
        if image.mode in modes:
            ImageOps.exif_transpose(image, in_place=True)  # also loads the pixels
            return image
    raise InputError(f"{path}: the picture has mode {image.mode}; convert it to {wanted}")


def picture_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) of a JPEG, PNG or WebP picture as stored, before EXIF orientation; reads only the header.

    Raises:
        InputError: the file is missing or of another format, or its header is damaged.
    """
    with open_file(path) as file, _pillow_errors(path):
        image = _opened(file, path)
        return image.height, image.width


def _opened(file: BinaryIO, path: str | Path) -> Image.Image:
    """Open a picture; reads only its header.

    Raises:
        InputError: it has more pixels than Pillow decodes, twice ``Image.MAX_IMAGE_PIXELS``. This is the only limit:
            Pillow's warning at half of it is not shown.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(file, formats=PICTURE_FORMATS)
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(
            f"{path}: has {_stored_size(file)} pixels, and at most {limit:,} in total are allowed; make it smaller"
        ) from error


def _stored_size(file: BinaryIO) -> str:
    """Return "width×height" from a picture's header, of any size."""
    for name in PICTURE_FORMATS:
        file.seek(0)
        with suppress(SyntaxError):  # the file has another format
            image = Image.OPEN[name][0](file, "")
            return f"{image.width}×{image.height}"
    return "too many"


@contextmanager
def _pillow_errors(path: str | Path) -> Iterator[None]:
    """Raise InputError in place of Pillow's errors."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: cannot be decoded as JPEG, PNG or WebP; convert it to one of these, or download it again"
        ) from error
    except _PILLOW_ERRORS as error:
        raise InputError(f"{path}: cannot be decoded ({first_line(error)}); save or download it again") from error


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a colour picture.

    Args:
        path: the file.
        size: (height, width) to resize to by OpenCV's bilinear interpolation; None: keep the size.

    Returns:
        (height, width, 3) uint8, red first.

    Raises:
        InputError: the file is missing, truncated or grey, or has transparency.
    """
    image = np.asarray(decoded(path, ("RGB",), "RGB (three 8-bit channels)"))
    return image if size is None else cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def read_grey(path: str | Path) -> np.ndarray:
    """Read a mask as (height, width) uint8 grey levels; an RGB file is allowed if its pixels are grey.

    Raises:
        InputError: the file is missing, truncated or coloured, or has transparency.
    """
    image = np.asarray(decoded(path, ("L", "1", "RGB"), "grey or RGB"))
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    if image.ndim == 2:
        return image
    sample = image[::4, ::4]
    coloured = (sample.max(axis=2) - sample.min(axis=2) > COLOURED).mean()
    if coloured > COLOURED_SHARE:
        raise InputError(
            f"{path}: {coloured:.0%} of this mask is coloured; masks are black and white, so save it in grey levels"
        )
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def read_labels(path: str | Path) -> np.ndarray:
    """Read a label map as (height, width) uint8: palette indices, grey levels or the red channel."""
    image = np.asarray(decoded(path, ("P", "L", "RGB"), "palette, grey or RGB"))
    return image if image.ndim == 2 else np.ascontiguousarray(image[:, :, 0])


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (height, width[, 3]) uint8, red first, in the format of the suffix; JPEG with OpenCV's quality of 95."""
    path = Path(path)
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encodes, content = cv2.imencode(path.suffix, pixels)
    assert encodes, f"no picture for {path}"
    with written_whole(path) as beside:
        beside.write_bytes(content.tobytes())


def write_labels(path: str | Path, labels: np.ndarray, colours: np.ndarray) -> None:
    """Write a label map as a palette PNG, which :func:`read_labels` reads.

    Args:
        path: the file.
        labels: (height, width) uint8.
        colours: (up to 256, 3) uint8, red first, the colour of each label.
    """
    image = Image.fromarray(labels)
    image.putpalette(colours.tobytes())
    with written_whole(path) as beside:
        image.save(beside, format="PNG")
