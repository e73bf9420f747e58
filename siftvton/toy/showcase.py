"""The page that ends `make demo`: one HTML file that shows the whole run and needs no other file."""

import base64
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, PackageLoader, StrictUndefined

from siftvton.errors import InputError
from siftvton.files import json_value, open_file, read_bytes, read_image, read_json, write_text
from siftvton.wording import counted

PICTURES = {
    "truth": "against_truth/toy.png",
    "attention": "attention/attention_maps.png",
    "matches": "matches/previews.jpg",
    "comparison": "scores_unpaired/comparison.png",
}
DOCUMENTS = {
    "truth": "against_truth/toy.md",
    "attention": "attention/attention_error.md",
    "attention_tuned": "attention_tuned/attention_error.md",
    "matches": "matches/matches.md",
    "unpaired": "scores_unpaired/table.md",
    "paired": "scores_paired/table.md",
}
TRUTH, SCORES, LOSSES = "against_truth/toy.json", "scores_unpaired/metrics.json", "train/metrics.jsonl"
ATTENTION, ATTENTION_TUNED = "attention/attention_error.json", "attention_tuned/attention_error.json"

BASE_ATTENTION = Path(__file__).parent / "base_attention.webp"  # checkpoints/toy/README.md says how it was made

MADE_BY = "run `make demo`, which writes it"
REMADE_BY = "delete it and run `make demo` again"
WIDEST, TALLEST = 1000, 8000  # largest size of a picture on the page, pixels; WebP allows at most 16383
QUALITY = 80  # WebP quality, 0 to 100; captions stay sharp at this value


@dataclass(frozen=True)
class Picture:
    """A picture on the page: a data URL, and its size in pixels."""

    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Block:
    """A part of a Markdown file: its kind ("table", "list", "heading" or "text") and its lines."""

    kind: str
    lines: list[str]


@dataclass(frozen=True)
class Table:
    """The cells of a table; the columns in ``numeric`` hold numbers and are aligned at the right."""

    header: list[str]
    rows: list[list[str]]
    numeric: set[int]


@dataclass(frozen=True)
class Chart:
    """A curve over the updates.

    Attributes:
        points: an SVG polyline in the unit square; x runs from the first to the last update, y from ``top`` to 0.
        top: the largest value.
    """

    title: str
    points: str
    top: float


@dataclass(frozen=True)
class Record:
    """The content of a JSON file; its numbers are checked when they are used."""

    path: Path
    content: Any

    def number(self, *keys: str | int) -> float:
        """Return the number under these keys. Raises InputError if there is none."""
        value = self.content
        try:
            for key in keys:
                value = value[key]
            if type(value) in (int, float) and math.isfinite(value):
                return float(value)
        except (LookupError, TypeError, OverflowError):
            pass
        raise InputError(f"{self.path}: has no number {'.'.join(map(str, keys))}; {REMADE_BY}")

    def estimate(self, measure: str) -> tuple[float, float, float]:
        """Return the value of a measure and the ends of its interval."""
        return (
            self.number(measure, "value"),
            self.number(measure, "interval", 0),
            self.number(measure, "interval", 1),
        )


def write_page(folder: str | Path) -> Path:
    """Write ``report.html`` from what the demo's commands left in ``folder``, and return its path.

    Raises:
        InputError: a file is broken, or missing because a command has not run.
    """
    folder = Path(folder)
    for name in (*PICTURES.values(), *DOCUMENTS.values(), TRUTH, SCORES, LOSSES, ATTENTION, ATTENTION_TUNED):
        open_file(folder / name, MADE_BY).close()
    losses = _losses(folder / LOSSES)
    truth = _record(folder / TRUTH)
    sheets = sorted((folder / "train" / "validation").glob("*.png"))
    page = _environment().get_template("showcase.html").render(
        updates=len(losses),
        persons=int(truth.number("results")),
        summary=_summary(truth, folder),
        matches_per_pair=_matches_per_pair(folder / "matches"),
        pictures={key: _picture(folder / name) for key, name in PICTURES.items()},
        base_attention=_picture(BASE_ATTENTION),
        validation=_picture(sheets[-1]) if sheets else None,
        documents={key: _blocks(_text(folder / name)) for key, name in DOCUMENTS.items()},
        charts=[
            _chart("Error of the prediction", [noise for noise, _ in losses]),
            _chart("Attention loss", [sift for _, sift in losses]),
        ],
    )  # fmt: skip
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("siftvton.toy", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["as_table"] = as_table
    return environment


def _summary(truth: Record, folder: Path) -> Table:
    """The main numbers of both networks. The demo compares only the shipped network with the truth."""
    rows = []
    for measure, title in (
        ("print_closest_by_error", "Prints closer to the right garment than to other garments ↑"),
        ("colour_right", "Garments in the right mean colour ↑"),
        ("unchanged", "Photos unchanged outside the painted area ↑"),
    ):
        share = _with_interval([100 * value for value in truth.estimate(measure)], "%")
        rows.append([title, share, "not measured", counted(int(truth.number(measure, "cases")), "result")])
    records = [_record(folder / name) for name in (ATTENTION, ATTENTION_TUNED)]
    errors = [_with_interval(record.estimate("attention_error_px"), "px") for record in records]
    rows.append(["Attention error ↓", *errors, counted(int(records[0].number("images")), "person")])
    scores, networks = _record(folder / SCORES), ("shipped", "tuned")
    distances = [scores.number("results", network, "scores", "autoencoder_frechet") for network in networks]
    pictures = counted(int(scores.number("results", networks[0], "pictures")), "picture")
    rows.append(["Stand-in for FID ↓", *(f"{distance:.2f}" for distance in distances), pictures])
    return Table(["Measure", "Shipped network", "Tuned network", "Counted over"], rows, {1, 2, 3})


def _with_interval(estimate: Sequence[float], unit: str) -> str:
    value, low, high = (f"{number:.1f}" for number in estimate)
    return f"{value}\N{NO-BREAK SPACE}{unit} ({low} to {high})"


def _record(path: Path) -> Record:
    return Record(path, read_json(path))


def _matches_per_pair(folder: Path) -> float:
    """The mean number of matches of a training pair."""
    counts = []
    for path in sorted(folder.glob("*_sift_matches.json")):
        matches = read_json(path)
        if not isinstance(matches, list):
            raise InputError(f"{path}: holds no list of matches; {REMADE_BY}")
        counts.append(len(matches))
    if not counts:
        raise InputError(f"{folder}: holds no match files; run `make demo`, which writes them")
    return sum(counts) / len(counts)


def _text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; {REMADE_BY}") from error


def _losses(path: Path) -> list[tuple[float, float]]:
    """The error of the prediction and the attention loss of each update."""
    remedy = f"delete the folder {path.parent} and run `make demo` again"
    losses = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            entry = json_value(line)
            noise, sift = float(entry["noise"]), float(entry["sift"])
            if not (math.isfinite(noise) and math.isfinite(sift)):
                raise ValueError("not finite")
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise InputError(f"{path}: line {number} lacks numbers `noise` and `sift` ({error}); {remedy}") from error
        losses.append((noise, sift))
    if not losses:
        raise InputError(f"{path}: holds no update; {remedy}")
    return losses


def _blocks(markdown: str) -> list[Block]:
    """Split Markdown into blocks; in this project's reports, each line belongs to one kind of block."""

    def kind(line: str) -> str:
        starts = {"|": "table", "- ": "list", "#": "heading"}
        return next((name for start, name in starts.items() if line.startswith(start)), "text" if line else "")

    lines = [line.strip() for line in markdown.splitlines()]
    return [Block(name, list(group)) for name, group in groupby(lines, kind) if name]


def as_table(lines: Sequence[str]) -> Table:
    """Read a Markdown table; its second line says which columns are aligned at the right."""
    header, *rows = ([cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")] for line in lines)
    numeric = {column for column, cell in enumerate(rows[0]) if cell.endswith(":")} if rows else set()
    return Table(header, rows[1:], numeric)


def _picture(path: Path) -> Picture:
    """Encode the picture as WebP, no larger than the page shows it."""
    image = read_image(path)
    height, width = image.shape[:2]
    scale = min(1.0, WIDEST / width, TALLEST / height)
    width, height = max(1, round(width * scale)), max(1, round(height * scale))
    shown = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    _, content = cv2.imencode(".webp", cv2.cvtColor(shown, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    return Picture(f"data:image/webp;base64,{base64.b64encode(content.tobytes()).decode()}", width, height)


def _chart(title: str, values: Sequence[float]) -> Chart:
    top = max(values)
    return Chart(title, " ".join(_points(values, top or 1.0)), top)


def _points(values: Sequence[float], top: float) -> Iterator[str]:
    for place, value in enumerate(values):
        yield f"{place / max(1, len(values) - 1):.4g},{1 - value / top:.4g}"
