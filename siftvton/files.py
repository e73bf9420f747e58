"""Files appear whole or not at all; regular files are read and nothing else; pictures are read strictly."""

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

# Of Pillow's plugins these three alone see a file: others start programs (Ghostscript for PostScript) or open more
# files. What a browser or a phone saves is one of them; a phone's MPO counts as JPEG.
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP")
# Pillow documents only OSError; damaged headers and EXIF tags raise the others.
_PILLOW_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, EOFError, ArithmeticError),
    *(AssertionError, RuntimeError, MemoryError, struct.error, Image.DecompressionBombError),
)
COLOURED = 48  # levels between a pixel's channels from which on it is no grey
COLOURED_SHARE = 0.005  # share of such pixels that a mask saved as a colour JPEG stays below

_BESIDE = ".siftvton-part-"  # how the names of unfinished files and folders begin
_SWEPT: set[Path] = set()  # folders that this process has cleaned of others' unfinished files
_DAY = 24 * 3600  # seconds


def is_file(path: str | Path) -> bool:
    """Whether ``path`` is a regular file, or a link to one.

    Raises:
        InputError: that cannot be known: a folder on the way may not be entered, or the name is too long.
    """
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # ValueError: a null character
        raise _cannot_read(path, error) from error


def open_file(path: str | Path, remedy: str = "") -> BinaryIO:
    """Open a regular file for reading; a pipe or a device could block for ever and is refused.

    Args:
        path: the file.
        remedy: what to do where there is no such file, for the message.

    Raises:
        InputError: there is no such file, it is not a regular one, or it may not be read.
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
    """Return the content of a regular file; errors as :func:`open_file` has them."""
    with open_file(path, remedy) as file:
        try:
            return file.read()
        except OSError as error:
            raise _cannot_read(path, error) from error


def _cannot_read(path: str | Path, error: OSError | ValueError) -> InputError:
    return InputError(f"{path}: cannot be read ({_reason(error)}); check the path and your rights to it")


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


def cannot_write(path: str | Path, error: OSError) -> InputError:
    """The error to raise where ``path`` could not be written."""
    remedy = REMEDIES.get(error.errno or 0, "name an output that you may write to")
    return InputError(f"{path}: cannot be written ({error.strerror or first_line(error)}); {remedy}")


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Give a path to write a file or a folder to; on success it replaces ``path``, on an error it is removed.

    It is beside ``path``, hidden, and has a name that nobody can know beforehand, so that nobody can plant a link
    there. The suffix is kept, since encoders read it. Of two writers at once the later one wins. Where ``path`` is a
    symbolic link, its target is replaced and the link stays. The caller makes the folder, if it is one; a folder
    replaces only a folder.

    Raises:
        UsageError: the folder of ``path`` cannot be made.
        InputError: the disk is full, or nothing may be written there.
    """
    folder = os.path.dirname(path)
    try:
        target = Path(os.path.realpath(path))  # the new content must be on its disk, or it could not be renamed
        folder = str(target.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # a file is in the way, nothing may be written, or a null character
        raise UsageError(f"{folder}: cannot be made a folder ({_reason(error)}); name another output") from error
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
    """Rename ``new`` to ``target``; a folder that is there becomes ``old`` first."""
    for _ in range(100):  # another writer may put its own folder there in between
        if new.is_dir() and target.is_dir():
            _remove(old)
            with suppress(FileNotFoundError):
                os.replace(target, old)
        try:
            return os.replace(new, target)
        except OSError:
            if not (new.is_dir() and target.is_dir()):
                raise
    raise OSError(errno.EBUSY, "other processes write there all the time")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def _writing_in(folder: Path) -> Iterator[None]:
    """Share a lock of ``folder`` with its other writers; it goes with its process, however that ends."""
    if folder not in _SWEPT:
        _sweep(folder)
    descriptor = _lock(folder, alone=False)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what killed writers left in ``folder``; once in this process's life is enough.

    Nobody else writes there while the lock is held alone. Where a folder cannot be locked (Windows, NFS), what is
    a day old has no writer any more.
    """
    with suppress(BlockingIOError):  # somebody writes: the next write tries again
        descriptor = _lock(folder, alone=True)
        _SWEPT.add(folder)
        for path in folder.glob(f"{_BESIDE}*"):
            with suppress(FileNotFoundError):
                if descriptor is not None or time.time() - path.lstat().st_mtime > _DAY:
                    _remove(path)
        if descriptor is not None:
            os.close(descriptor)


def _lock(folder: Path, alone: bool) -> int | None:
    """Lock a folder until the returned descriptor is closed; None where the system has no such locks.

    Raises:
        BlockingIOError: others hold it, and ``alone`` is set.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # one may be allowed to write to a folder, but not to list it
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
    """Return the hexadecimal digest of a file's content; errors as :func:`open_file` has them."""
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
    """Write JSON, which has no NaN and no infinity: either raises ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; the caller checks its form.

    Raises:
        InputError: the file is missing or not JSON, or holds NaN or infinity.
    """
    try:
        return json_value(read_bytes(path).decode("utf-8-sig"))
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


def decoded(path: str | Path, modes: tuple[str, ...], wanted: str) -> Image.Image:
    """Decode a JPEG, PNG or WebP picture and turn it as its EXIF orientation says.

    Args:
        path: the file.
        modes: which of Pillow's modes are allowed.
        wanted: these in words, for the message.

    Raises:
        InputError: the file is missing, damaged, of another format or of another mode.
    """
    with open_file(path) as file:
        try:
            image = Image.open(file, formats=PICTURE_FORMATS)
            if image.format == "PNG":  # whose check sums Pillow looks at only here
                image.verify()
                file.seek(0)
                image = Image.open(file, formats=PICTURE_FORMATS)
            if image.mode in modes:
                ImageOps.exif_transpose(image, in_place=True)  # which loads it as well
                return image
        except UnidentifiedImageError as error:
            raise InputError(
                f"{path}: cannot be decoded as JPEG, PNG or WebP; convert it to one of these, or download it again"
            ) from error
        except _PILLOW_ERRORS as error:
            raise InputError(f"{path}: cannot be decoded ({first_line(error)}); save or download it again") from error
    raise InputError(f"{path}: picture has mode {image.mode}, wanted {wanted}; convert it")


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read a colour picture. ``size`` (height, width) is what to resize to, OpenCV bilinear; None: as it is.

    Returns:
        (height, width, 3) uint8, red first.

    Raises:
        InputError: the file is missing, truncated, grey or has transparency.
    """
    image = np.asarray(decoded(path, ("RGB",), "RGB (three 8-bit channels)"))
    return image if size is None else cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


def read_grey(path: str | Path) -> np.ndarray:
    """Read a mask as (height, width) uint8 grey levels; an RGB file must be grey all the same.

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
            f"{path}: {coloured:.0%} of this mask is coloured; a mask is black and white, so save it in grey levels"
        )
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def read_labels(path: str | Path) -> np.ndarray:
    """Read a label map as (height, width) uint8: palette indices, grey levels or the red channel."""
    image = np.asarray(decoded(path, ("P", "L", "RGB"), "palette, grey or RGB"))
    return image if image.ndim == 2 else np.ascontiguousarray(image[:, :, 0])


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write (height, width[, 3]) uint8, red first, by the suffix's format; JPEG at OpenCV's quality of 95."""
    path = Path(path)
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encodes, content = cv2.imencode(path.suffix, pixels)
    assert encodes, f"no picture for {path}"
    with written_whole(path) as beside:
        beside.write_bytes(content.tobytes())
