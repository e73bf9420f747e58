"""Side pictures that contradict each other, and unusual but valid ones, such as labels and other suffixes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from robustness.harness import Bench, Case, Verdict, judged

from siftvton.correspondence.regions import densepose_labels
from siftvton.data.layouts.base import AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT_MASK, GARMENT_PARSING, IMAGE
from siftvton.files import read_grey, read_image, write_image

PERSON = "00000_00"
SUFFIXES = (".jpg", ".jpeg", ".JPG", ".JPEG", ".png", ".PNG")


class Sides:
    """The files of one person in a copy of the data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.photo = folder / IMAGE / f"{PERSON}.jpg"
        self.agnostic = folder / AGNOSTIC / f"{PERSON}.jpg"
        self.mask = folder / AGNOSTIC_MASK / f"{PERSON}_mask.png"
        self.densepose = folder / DENSEPOSE / f"{PERSON}.jpg"

    def labels(self) -> np.ndarray:
        """The DensePose part numbers, 0 to 24, (height, width)."""
        return densepose_labels(read_image(self.densepose)).astype(np.uint8)

    def as_png(self, path: Path, picture: np.ndarray) -> None:
        """Replace ``path`` by a PNG of the picture, which keeps all levels."""
        path.unlink()
        write_image(path.with_suffix(".png"), picture)


def _levels_0_1(sides: Sides) -> None:
    write_image(sides.mask, (read_grey(sides.mask) >= 128).astype(np.uint8))


def _red_mask(sides: Sides) -> None:
    grey = read_grey(sides.mask)
    write_image(sides.mask, np.stack([grey, 0 * grey, 0 * grey], axis=2))


def _transparent_mask(sides: Sides) -> None:
    grey = read_grey(sides.mask)
    cv2.imwrite(str(sides.mask), np.stack([grey, grey, grey, grey], axis=2))


def _moved_mask(sides: Sides) -> None:
    write_image(sides.mask, np.roll(read_grey(sides.mask), (64, 48), axis=(0, 1)))


def _grey_densepose(sides: Sides) -> None:
    sides.as_png(sides.densepose, cv2.cvtColor(read_image(sides.densepose), cv2.COLOR_RGB2GRAY))


# Changes to the files of one person. None of them may pass as undamaged.
CONTRADICTIONS: dict[str, Callable[[Sides], object]] = {
    "mask of 0 and 1": _levels_0_1,
    "red mask": _red_mask,
    "transparent mask": _transparent_mask,
    "moved mask": _moved_mask,
    "agnostic picture as mask": lambda s: write_image(s.mask, read_image(s.agnostic)),
    "photo as mask": lambda s: write_image(s.mask, read_image(s.photo)),
    "inverted mask": lambda s: write_image(s.mask, 255 - read_grey(s.mask)),
    "black mask": lambda s: write_image(s.mask, 0 * read_grey(s.mask)),
    "photo as agnostic picture": lambda s: write_image(s.agnostic, read_image(s.photo)),
    "mask as agnostic picture": lambda s: write_image(s.agnostic, np.repeat(read_grey(s.mask)[..., None], 3, axis=2)),
    "agnostic picture painted white": lambda s: write_image(
        s.agnostic, np.where(read_grey(s.mask)[..., None] > 127, np.uint8(255), read_image(s.photo))
    ),
    "agnostic picture painted black": lambda s: write_image(
        s.agnostic, np.where(read_grey(s.mask)[..., None] > 127, np.uint8(0), read_image(s.photo))
    ),
    "DensePose with red and blue swapped": lambda s: write_image(s.densepose, read_image(s.densepose)[..., ::-1]),
    "photo as DensePose": lambda s: write_image(s.densepose, read_image(s.photo)),
    "DensePose in shades of grey": _grey_densepose,
    "DensePose labels times ten": lambda s: s.as_png(s.densepose, 10 * s.labels()),
}

# Variants that must be read like the usual form.
READABLE: dict[str, Callable[[Sides], object]] = {
    "DensePose labels": lambda s: s.as_png(s.densepose, s.labels()),
    "DensePose labels in three channels": lambda s: s.as_png(s.densepose, np.repeat(s.labels()[..., None], 3, axis=2)),
    "mask in three channels": lambda s: write_image(s.mask, np.repeat(read_grey(s.mask)[..., None], 3, axis=2)),
}


def cases() -> Iterator[Case]:
    for script in ("infer", "preprocess_sift", "train"):
        for name, change in CONTRADICTIONS.items():
            if script != "preprocess_sift" or "DensePose" in name or "mask" in name:
                yield Case("side pictures", f"{script}: {name}", partial(_contradiction, script, change))
    for name, change in READABLE.items():
        yield Case("side pictures", f"infer: {name}", partial(_readable, change, "channels" in name))
    for kind in (AGNOSTIC, AGNOSTIC_MASK, DENSEPOSE, GARMENT_MASK, GARMENT_PARSING):
        for suffix in SUFFIXES:
            yield Case("side pictures", f"{kind} as {suffix}", partial(_suffix, kind, suffix))


def _run(bench: Bench, script: str, root: Path) -> tuple[list[str], Callable[[], str], object]:
    """Break the first person of the data; the script must name the files and do the work on all other persons."""
    if script == "infer":
        finished = bench.run("infer", f"data.root={root}")
        made, whole = bench.output / "00001_00_00000_00.png", bench.world.results / "00001_00_00000_00.png"
    elif script == "preprocess_sift":
        finished = bench.run("preprocess_sift", f"data.root={root}", "workers=1")
        made, whole = (folder / "00001_00_sift_matches.json" for folder in (bench.output, bench.world.matches))
    else:
        keys = (f"data.matches={bench.world.matches}", "data.validation_pairs=0")
        return [PERSON], lambda: "", bench.run("train", f"data.root={root}", "train.updates=3", *keys)

    def others() -> str:
        return "" if made.is_file() and made.read_bytes() == whole.read_bytes() else f"{made.name} is not made"

    return [PERSON], others, finished


def _contradiction(script: str, change: Callable[[Sides], object], bench: Bench) -> Verdict:
    root = bench.copy("data")
    change(Sides(root / ("test" if script == "infer" else "train")))
    names, others, finished = _run(bench, script, root)
    return judged(finished, names, None, others)


def _readable(change: Callable[[Sides], object], refusable: bool, bench: Bench) -> Verdict:
    root = bench.copy("data")
    change(Sides(root / "test"))
    return judged(bench.run("infer", f"data.root={root}"), [PERSON], lambda: _close(bench), refusable=refusable)


def _close(bench: Bench) -> str:
    """The first result must be close to that of the usual form, in which JPEG blurs the edges of the parts."""
    name = f"{PERSON}_00001_00.png"
    pictures = [read_image(folder / name).astype(int) for folder in (bench.output, bench.world.results)]
    far = float(np.abs(pictures[0] - pictures[1]).mean())
    return "" if far < 2 else f"{name} differs by {far:.1f} grey levels in the mean"


def _suffix(kind: str, suffix: str, bench: Bench) -> Verdict:
    """Save the same pixels under another suffix; preprocess_sift must find them and not run without them."""
    root = bench.copy("data")
    (path,) = (root / "train" / kind).glob(f"{PERSON}*")
    picture = read_image(path) if kind in (AGNOSTIC, DENSEPOSE, GARMENT_PARSING) else read_grey(path)
    path.unlink()
    write_image(path.with_suffix(suffix), picture)
    finished = bench.run("preprocess_sift", f"data.root={root}", "workers=1")

    def found() -> str:
        lines = (bench.output / "matches.md").read_text().splitlines()
        sides = next(line for line in lines if line.startswith("Optional pictures found"))
        return "" if kind == AGNOSTIC or sides.count(" 3") >= 4 else f"not found: {sides}"

    return judged(finished, [path.stem], found, refusable=False)
