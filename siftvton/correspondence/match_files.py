"""Files of correspondences in the published form: a JSON list of ``[[x_p, y_p], [x_g, y_g]]``, which can be empty."""

import json
from pathlib import Path

import numpy as np

from siftvton.correspondence.correspondences import Correspondences, Frame
from siftvton.errors import InputError
from siftvton.files import read_bytes, write_text


def write_matches(path: str | Path, matches: Correspondences) -> None:
    """Write the points without rounding, in pixels of ``matches.frame``; if writing fails, the old file stays."""
    write_text(path, json.dumps(np.stack([matches.person, matches.garment], axis=1).tolist()))


def read_matches(path: str | Path, frame: Frame) -> Correspondences:
    """Read a file of correspondences.

    Args:
        path: the file.
        frame: (height, width) in pixels of the pictures that were matched; the file does not contain it.

    Raises:
        InputError: the file is missing or truncated or has another form, or a point is not finite or is outside the
            frame.
    """
    text = read_bytes(path, "scripts/preprocess_sift.py writes it")
    try:
        content = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); delete it and run preprocess_sift.py again") from error
    points = np.array(_numbers(path, content), np.float64).reshape(-1, 2, 2)

    height, width = frame
    inside = ((points >= -0.5) & (points <= np.array([width, height]) - 0.5)).all(axis=(1, 2))
    if not inside.all():
        number = int(np.flatnonzero(~inside)[0])
        raise InputError(
            f"{path}: match {number} {points[number].tolist()} is outside the frame of {height} × {width} (height × "
            "width); set data.matches_frame to the size of the pictures that were matched"
        )
    return Correspondences(points[:, 0].copy(), points[:, 1].copy(), frame)


def _numbers(path: str | Path, content: object) -> list[list[float]]:
    """The content as rows x_p, y_p, x_g, y_g.

    Raises:
        InputError: the content has another form, or a number is not finite.
    """
    if not isinstance(content, list):
        raise InputError(
            f"{path}: holds a {type(content).__name__}, but a list of [[x, y], [x, y]] is required; delete the file "
            "and run preprocess_sift.py again"
        )
    rows = []
    for number, match in enumerate(content):
        try:
            (x_p, y_p), (x_g, y_g) = match
            row = [x_p, y_p, x_g, y_g]
        except (TypeError, ValueError):
            row = []
        # The comparison is false for NaN and infinity; the type excludes strings and booleans.
        if not row or not all(type(value) in (int, float) and abs(value) < 1e6 for value in row):
            raise InputError(
                f"{path}: match {number} is {json.dumps(match)[:80]}, but two points of two finite numbers, "
                "[[x, y], [x, y]], are required; delete the file and run preprocess_sift.py again"
            )
        rows.append(row)
    return rows
