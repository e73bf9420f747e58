"""Ways to break bytes and JSON; every run makes the same changes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Change = Callable[[bytes], bytes]

LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
HTML_PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>moved</body></html>\n"
POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 128\n%%EndComments\n(written) (w) file closefile\nshowpage\n"
)
PDF = b"%PDF-1.4\n1 0 obj << /Type /Catalog >> endobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="96" height="128"><rect/></svg>\n'

# Contents that can be in place of a file of any kind.
IN_PLACE: dict[str, bytes] = {
    "empty": b"",
    "LFS pointer": LFS_POINTER,
    "HTML page": HTML_PAGE,
    "text": b"not found\n",
    "zeros": bytes(4096),
    "NUL": b"\0",
    "noise": np.random.default_rng(0).bytes(4096),
}


def truncations(places: int) -> dict[str, Change]:
    """The bytes cut off after the first few bytes and at evenly spaced positions."""
    cuts: dict[str, Change] = {f"first {size} bytes": lambda data, size=size: data[:size] for size in (1, 2, 7, 100)}
    for place in range(1, places):
        cuts[f"cut at {place} of {places}"] = lambda data, place=place: data[: len(data) * place // places]
    cuts["last byte missing"] = lambda data: data[:-1]
    return cuts


def flips(count: int, bits: int = 1) -> dict[str, Change]:
    """The bytes with some bits flipped, at positions that are drawn for each number."""

    def flipped(data: bytes, seed: int) -> bytes:
        draw = np.random.default_rng(seed)
        changed = bytearray(data)
        for place in draw.integers(len(changed), size=bits):
            changed[place] ^= 1 << int(draw.integers(8))
        return bytes(changed)

    return {f"flipped bits {seed}": lambda data, seed=seed: flipped(data, seed) for seed in range(count)}


# Values for the keys of a configuration, as Python reads them from JSON or YAML.
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "minus one": -1,
    "half": 0.5,
    "huge": 10**30,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "text": "x",
    "empty text": "",
    "a path": "../../elsewhere",
    "a repository": "owner/kernel",
    "list": [1, 2],
    "empty list": [],
    "nested list": [[1], [2]],
    "mapping": {"a": 1},
}


def key_changes(content: dict[str, Any], turns: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects with one key set to another value or left out, for every key.

    Args:
        turns: each key gets one in ``turns`` of the values; the keys take turns.
    """
    for place, key in enumerate(content):
        for name, value in list(VALUES.items())[place % turns :: turns]:
            if type(value) is not type(content[key]) or value != content[key]:
                yield f"{key} is {name}", {**content, key: value}
        yield f"no {key}", {other: value for other, value in content.items() if other != key}


def json_changes(content: Any) -> Iterator[tuple[str, bytes]]:
    """The bytes of a JSON document, with broken text and with broken structure."""
    whole = json.dumps(content)
    yield from (
        ("a byte-order mark", b"\xef\xbb\xbf" + whole.encode()),
        ("UTF-16", whole.encode("utf-16")),
        ("a trailing comma", whole[:-1].encode() + b"," + whole[-1:].encode()),
        ("single quotes", whole.replace('"', "'").encode() + b"'"),
        ("a byte that is not UTF-8", whole.encode() + b"\xff"),
        ("two documents", (whole + whole).encode()),
        ("nested too deep", b"[" * 100_000),
        ("a long number", b"1" * 5000),
        ("null", b"null"),
        ("a number", b"3"),
        ("text", b'"owner/name"'),
        ("a list of numbers", b"[1, 2]"),
        ("an empty list", b"[]"),
        ("an empty object", b"{}"),
        ("NaN", b"NaN"),
    )


def with_value(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of nested lists and objects with the element at ``path`` replaced."""
    changed = copy.deepcopy(content)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed
