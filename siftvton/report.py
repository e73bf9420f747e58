"""One page that shows a whole run: matches, training, results, scores."""

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path

from siftvton.errors import InputError
from siftvton.files import json_value, read_bytes, read_image, write_text

MADE_BY = "`make demo` runs the commands that write it"
CHART = (640, 160)  # width and height in CSS pixels

STYLE = "body{font:16px/1.5 sans-serif;max-width:64rem;margin:2rem auto}img{max-width:100%}pre{white-space:pre-wrap}"


def write_report(folder: str | Path) -> Path:
    """Gather what the demo's commands left in ``folder`` into ``report.html``, a single file.

    Raises:
        InputError: one of the commands has not run, or what it left is broken.
    """
    folder = Path(folder)
    metrics = _metrics(folder / "train" / "metrics.jsonl")
    sheets = sorted((folder / "train" / "validation").glob("*.png"))
    updates = len(metrics)
    body = [
        "<h1>SIFT-VTON in small</h1>",
        "<p>Drawn persons in drawn garments: dressed by a network of four million parameters that ships with the code "
        "and never saw them, then matched, and the network trained a little further on the matches. Its card, "
        "checkpoints/toy/README.md, says how it was made, what it can do and what it cannot.</p>",
        "<h2>1. Test persons in test garments</h2>",
        _picture(folder / "against_truth" / "toy.png"),
        "<p>The truth is the same person rendered in the same garment. Measured against it:</p>",
        _preformatted(folder / "against_truth" / "toy.md"),
        "<h2>2. Where the hooked layers look</h2>",
        "<p>Three points of each photo, and the attention of each over the garment, averaged over heads, layers and "
        "timesteps; the green circle is the true place.</p>",
        _picture(folder / "attention" / "attention_maps.png"),
        _preformatted(folder / "attention" / "attention_error.md"),
        "<h2>3. Matches of the training pairs (paper §3.1)</h2>",
        "<p>Each row: a photo, its garment's picture; kept matches in colours, dropped ones faint. Plain garments and "
        "fine textures have none, as the paper says.</p>",
        _picture(folder / "matches" / "previews.jpg"),
        _preformatted(folder / "matches" / "matches.md"),
        f"<h2>4. Supervised fine-tuning (Eq. 3), {updates} updates</h2>",
        "<p>A minute of training, to show it at work; it starts from a trained network, so little changes. Error of "
        "the prediction (mean of squares, unweighted) and the supervision's loss (Eq. 2; 0 where an update had no "
        "supervised image), both against updates.</p>",
        _chart("error of the prediction", [entry["noise"] for entry in metrics]),
        _chart("attention loss", [entry["sift"] for entry in metrics]),
        "<p>Validation persons in each other's garments, at the last update:</p>",
        *(_picture(sheet) for sheet in sheets[-1:]),
        "<p>Where the hooked layers look afterwards:</p>",
        _preformatted(folder / "attention_tuned" / "attention_error.md"),
        "<h2>5. Before and after, side by side</h2>",
        "<p>The same persons, garments and start noise by the shipped network and by the tuned one; the torso enlarged "
        "below.</p>",
        _picture(folder / "scores_unpaired" / "comparison.png"),
        "<h2>6. Scores</h2>",
        _preformatted(folder / "scores_unpaired" / "table.md"),
        _preformatted(folder / "scores_paired" / "table.md"),
    ]
    page = f"<!doctype html><meta charset=utf-8><title>SIFT-VTON in small</title><style>{STYLE}</style>"
    write_text(folder / "report.html", page + "\n".join(body) + "\n")
    return folder / "report.html"


def _text(path: Path) -> str:
    try:
        return read_bytes(path, MADE_BY).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text; {MADE_BY}") from error


def _metrics(path: Path) -> list[dict[str, float]]:
    """The updates' losses, one a line of the file."""
    metrics = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        try:
            entry = json_value(line)
            values = {name: float(entry[name]) for name in ("noise", "sift")}
            if not all(map(math.isfinite, values.values())):
                raise ValueError("not finite")
            metrics.append(values)
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise InputError(
                f"{path}: line {number} has no numbers `noise` and `sift` ({error}); train again into another folder"
            ) from error
    if not metrics:
        raise InputError(f"{path}: holds no update; train again into another folder")
    return metrics


def _preformatted(path: Path) -> str:
    return f"<pre>{html.escape(_text(path))}</pre>"


def _picture(path: Path) -> str:
    content = read_bytes(path, MADE_BY)
    read_image(path)  # so that no broken picture is shown
    kind = "png" if path.suffix == ".png" else "jpeg"
    data = base64.b64encode(content).decode()
    return f'<img alt="{html.escape(path.name)}" src="data:image/{kind};base64,{data}">'


def _chart(name: str, values: Sequence[float]) -> str:
    """The values as a line, from 0 to their maximum."""
    width, height = CHART
    top = max(values) or 1.0
    step = width / max(1, len(values) - 1)
    points = " ".join(f"{n * step:.1f},{height * (1 - value / top):.1f}" for n, value in enumerate(values))
    return (
        f"<figure><figcaption>{name}, 0 to {top:.3g}</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" style="border:1px solid #ccc">'
        f'<polyline points="{points}" fill="none" stroke="#1450c2" stroke-width="1.5"/></svg></figure>'
    )
