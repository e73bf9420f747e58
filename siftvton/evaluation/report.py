"""What the columns of an evaluation mean, and its report as a Markdown table."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from siftvton.tables import markdown_table


@dataclass(frozen=True)
class Metric:
    """A column: its title, which direction is better, and how it is computed."""

    title: str
    better: str  # "higher" or "lower"
    digits: int  # after the decimal point
    definition: str


METRICS = {
    "ssim": Metric("SSIM", "higher", 4, "TorchMetrics' SSIM between result and photo (data_range=1), mean of pictures"),
    "lpips": Metric("LPIPS", "lower", 4, "TorchMetrics' LPIPS (AlexNet) between result and photo, mean of pictures"),
    "fid": Metric(
        "FID", "lower", 3, "Fréchet distance between clean-fid's Inception features, each picture read in its own size"
    ),
    "kid": Metric(
        "KID ×1000",
        "lower",
        3,
        "clean-fid's kernel distance between the same features as for FID: mean of 100 subsets of at most 1000 "
        "pictures, ×1000",
    ),
    "autoencoder_frechet": Metric(
        "Fréchet distance (autoencoder features)",
        "lower",
        4,
        "Fréchet distance between the posterior means of an autoencoder, averaged to 4×4 cells. It is not FID. Compare "
        "it only with values from the same autoencoder",
    ),
    "autoencoder_kernel": Metric(
        "kernel distance ×1000 (autoencoder features)",
        "lower",
        3,
        "KID's formula on the autoencoder's features. It is not KID",
    ),
}
# Scores on VITON-HD's test set: the paper's Table 1, and its revised figures.
PUBLISHED = {
    "StableVITON": {"ssim": 0.891, "lpips": 0.0752, "fid": 9.304, "kid": 1.397},
    "SIFT-VTON, first version": {"ssim": 0.888, "lpips": 0.0751, "fid": 8.860, "kid": 1.092},
    "SIFT-VTON, revised": {"ssim": 0.8889, "lpips": 0.0738, "fid": 8.593, "kid": 0.754},
}
BY_CATEGORY = (
    "A row of a category compares the results of that category with the photos of its persons; a distance between sets "
    "requires two of each. Published scores differ in their protocols (docs/dresscode.md)."
)
ARROWS = {"higher": "↑", "lower": "↓"}


def markdown(report: Mapping[str, Any]) -> str:
    """Make the page of ``metrics.json``'s content: one row for each set of results, the protocol, the definitions."""
    columns: Mapping[str, Mapping[str, Any]] = report["metrics"]
    titles = [f"{column['title']} {ARROWS[column['better']]}" for column in columns.values()]
    rows = []
    for name, results in report["results"].items():
        rows.append([name, *_cells(results, columns)])
        for category, found in results.get("categories", {}).items():
            rows.append([f"{name}: {category}", *_cells(found, columns, computed=results["scores"])])
    for name, scores in report["published"].items():
        cells = [_cell(key, scores[key]) if key in scores else "" for key in columns]
        rows.append([f"{name} (published)", "", *cells])
    by_category = any("categories" in results for results in report["results"].values())
    brackets = "In brackets: 95 % bootstrap intervals over pictures, or over KID's subsets."
    lines = [
        *markdown_table(["results", "pictures", *titles], rows),
        "",
        report["summary"],
        *([BY_CATEGORY] if by_category else []),
        *([brackets] if any(s["intervals"] for s in report["results"].values()) else []),
        "",
    ]
    lines += [f"- {column['title']}: {column['definition']}.{_weights(column)}" for column in columns.values()]
    for reason in dict.fromkeys(column["not_run"] for column in columns.values() if column["not_run"]):
        without = [column["title"] for column in columns.values() if column["not_run"] == reason]
        lines.append(f"- Not run: {', '.join(without)}: {reason}.")
    return "\n".join(lines) + "\n"


def _cells(results: Mapping[str, Any], columns: Iterable[str], computed: Container[str] = ()) -> list[str]:
    """Return the number of pictures and the scores of a set of results, or of its pictures of one category.

    Args:
        computed: the columns that have a score for all categories together.
    """
    scores, intervals = results["scores"], results["intervals"]
    missing = {key: "too few" if key in computed else "not run" for key in columns}
    cells = [_cell(key, scores[key], intervals.get(key)) if key in scores else missing[key] for key in columns]
    return [str(results["pictures"]), *cells]


def _cell(key: str, value: float, interval: Sequence[float] | None = None) -> str:
    value_text, *ends = (f"{number:.{METRICS[key].digits}f}" for number in (value, *(interval or ())))
    return f"{value_text} ({ends[0]} to {ends[1]})" if ends else value_text


def _weights(column: Mapping[str, Any]) -> str:
    """Name the file of the column's network, so that a file other than the published one is noticed."""
    weights = column["weights"]
    if not weights:
        return ""
    origin = {True: "", False: ", not the published file", None: ", no published digest to compare with"}
    name, digest = PurePath(weights["file"]).name, weights["sha256"][:8]
    return f" Weights: {name} (SHA-256 {digest}…){origin[weights['published']]}."
