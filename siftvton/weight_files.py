"""Readers for weights files and the JSON files beside them; a broken file gives an error of one line."""

import json
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from siftvton.errors import InputError, first_line

SAFETENSORS = ".safetensors"
LARGEST_JSON = 2**24  # bytes; an index of every tensor of the full model has 0.2 MB
LONGEST_SHOWN = 100  # characters of a text from a file that a message repeats

# The data types that are read, by their names in the safetensors format.
DTYPES = {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I32", "I16", "I8", "U8", "BOOL"}


def shown(text: object) -> str:
    """A text from a file, made safe for a message: one line, limited length, no control characters."""
    text = str(text)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def require_regular(path: Path) -> Path:
    """Return ``path`` if it is a readable regular file and not a common mistake.

    Opening a named pipe would wait for ever. A Git LFS pointer or a web page in place of the weights is common.

    Raises:
        InputError: the file is missing, empty or unreadable; a folder, a pipe, a device or a broken link; or a Git
            LFS pointer or a web page.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"{path}: is {_kind(mode)}; a regular file is required")
        with path.open("rb") as file:
            start = file.read(1024)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise InputError(f"{path}: links to {path.readlink()}, which does not exist; correct the link") from error
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # no permission, a loop of links, a NUL in the name
        raise InputError(f"{path}: cannot be read ({_reason(error)})") from error
    if not start:
        raise InputError(f"{path}: the file is empty; download or copy it again")
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        raise InputError(f"{path}: is a Git LFS pointer, not the file itself; fetch it with: git lfs pull")
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<!--")):
        raise InputError(f"{path}: is a web page, not the file itself; download it again from a direct link")
    return path


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing, too large, or not JSON.
    """
    require_regular(path)
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise InputError(
                f"{path}: has more than {LARGEST_JSON // 2**20} MiB, too much for a configuration; copy it again"
            )
        return json.loads(path.read_text(encoding="utf-8-sig"))  # an editor on Windows may add a byte-order mark
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply; copy it again") from error
    except ValueError as error:  # not JSON, not UTF-8, a number with too many digits
        raise InputError(f"{path}: is not JSON ({first_line(error)}); copy it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)})") from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, memory-mapped.

    Raises:
        InputError: the file is missing or damaged, or holds a data type that is not in ``DTYPES``.
    """
    require_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118, it is not a dictionary
                dtype = file.get_slice(name).get_dtype()
                if dtype not in DTYPES:
                    raise InputError(
                        f"{path}: {shown(name)} has the data type {shown(dtype)}, which is not supported; "
                        "convert it to F32, F16 or BF16"
                    )
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: is damaged or not a safetensors file ({shown(_reason(error))}); download or copy it again"
        ) from error


def only_variant(folder: Path, name: str) -> str | None:
    """The variant of the weights ``name`` in ``folder``, e.g. "fp16"; None if there are weights without one.

    diffusers and transformers put the variant into the file names: ``model.fp16.safetensors`` and, for shards,
    ``model.safetensors.index.fp16.json``.

    Raises:
        InputError: there are several variants to choose from.
    """
    if any(os.path.lexists(folder / each) for each in (name, f"{name}.index.json")):
        return None
    pattern = re.compile(re.escape(name.removesuffix(SAFETENSORS)) + r"\.([\w-]+?)(-\d{5}-of-\d{5})?\.safetensors")
    variants = {found[1] for path in folder.glob("*") if (found := pattern.fullmatch(path.name))}
    if len(variants) > 1:
        raise InputError(
            f"{folder}: holds {name} in several variants ({', '.join(map(shown, sorted(variants)))}); keep the files "
            "of one of them"
        )
    return variants.pop() if variants else None


def _with_variant(name: str, variant: str | None) -> str:
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{variant}.{ending}" if variant else name


def read_sharded(folder: Path, name: str, variant: str | None = None) -> dict[str, Tensor]:
    """The tensors of the file ``name`` in ``folder``, or of the shards that ``name``.index.json lists there.

    Args:
        variant: read the files of this variant, see :func:`only_variant`; None: those without one.

    Raises:
        InputError: a file is missing or damaged, or the index names something other than safetensors files in the
            folder.
    """
    whole, index = (folder / _with_variant(each, variant) for each in (name, f"{name}.index.json"))
    if whole.exists() or whole.is_symlink() or not index.exists():
        return read_safetensors(whole)
    listed = read_json(index)
    places = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(places, dict) or not places:
        raise InputError(f"{index}: has no weight_map that gives the shard of each tensor; copy it again")
    for shard in places.values():
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(SAFETENSORS):
            raise InputError(f"{index}: names {shown(shard)}; only {SAFETENSORS} files in the same folder are allowed")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(places.values())):
        for tensor_name, tensor in read_safetensors(folder / shard).items():
            if places.get(tensor_name) != shard:
                raise InputError(
                    f"{folder / shard}: holds {shown(tensor_name)}, which {index.name} does not list there; "
                    "copy the folder again"
                )
            tensors[tensor_name] = tensor
    missing = next((each for each in places if each not in tensors), None)
    if missing is not None:
        raise InputError(
            f"{folder / places[missing]}: has no {shown(missing)}, which {index.name} lists there; "
            "copy the folder again"
        )
    return tensors


def require_floats(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Check that all tensors hold floating-point numbers.

    Raises:
        InputError: a tensor holds whole numbers, as in a quantised model.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{path}: {shown(name)} has the data type {kind}; use floating-point weights")


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or first_line(error)
