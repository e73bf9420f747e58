"""What the arms' measures say: means and spreads over seeds, and differences from one arm, image by image."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siftvton.config import Experiment
from siftvton.draws import numpy_generator
from siftvton.errors import UsageError
from siftvton.evaluation.intervals import bootstrap
from siftvton.files import write_json, write_text

FLIPS = 10_000  # of the permutation test
BASE = "base"  # the arm that others may start from
PRIMARY = "print_error_unpaired"
SHOWN = {
    PRIMARY: ("print error, unpaired ↓", 4),
    "print_error_paired": ("print error, paired ↓", 4),
    "print_similarity_unpaired": ("print SSIM, unpaired ↑", 3),
    "ssim_paired": ("SSIM, paired ↑", 3),
    "frechet_unpaired": ("Fréchet ↓", 2),
    "kernel_unpaired": ("kernel distance ↓", 2),
    "attention_error_px": ("attention error, px ↓", 1),
    "attention_pck": ("attention PCK ↑", 3),
}
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
Entry = Mapping[str, Any]  # what one arm's file of one seed holds


def write_report(config: Experiment) -> str:
    """Write ``<report>.json`` (arm -> measure -> mean, std, per_seed) and the tables; returns the latter.

    In a ``<report>.md`` that is there, they replace what stands between ``BEGIN`` and ``END``; the rest stays.
    """
    arms = _read(Path(config.measures), [BASE, *config.arms])
    write_json(Path(f"{config.report}.json"), {arm: summary(seeds) for arm, seeds in arms.items()})
    tables = markdown(arms, {arm: config.references.get(arm, config.reference) for arm in arms})
    page = Path(f"{config.report}.md")
    before, after = "", "\n"
    if page.is_file():
        before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise UsageError(f"{page}: has no lines {BEGIN} and {END} to put the tables between")
    write_text(page, f"{before}{BEGIN}\n{tables}{END}{after}")
    return tables


def _read(folder: Path, arms: Sequence[str]) -> dict[str, list[Entry]]:
    """Arm -> its seeds' entries, by seed, of the arms of which there are any."""
    found = {}
    for arm in arms:
        entries = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(f"{arm}-seed-*.json")]
        if entries:
            found[arm] = sorted(entries, key=lambda entry: entry["seed"])
    return found


def summary(seeds: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """Each measure's mean and standard deviation (n − 1) over seeds; no deviation of a single one."""
    report = {}
    for name in seeds[0]["measures"]:
        values = [entry["measures"][name] for entry in seeds if name in entry["measures"]]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        report[name] = {"mean": float(np.mean(values)), "std": deviation, "per_seed": values}
    return report


def paired_differences(arm: Sequence[Entry], reference: Sequence[Entry]) -> np.ndarray:
    """(seeds, images) the arm's primary measure less the reference's, of the seeds and images that both have."""
    others = {entry["seed"]: entry["per_image"][PRIMARY] for entry in reference}
    rows = []
    for entry in arm:
        own, other = entry["per_image"][PRIMARY], others.get(entry["seed"])
        if other is not None:
            rows.append([own[image] - other[image] for image in sorted(own.keys() & other.keys())])
    return np.array(rows)


def sign_flip_test(differences: np.ndarray) -> float:
    """Two-sided p that images' mean differences lie around 0: their signs are flipped at random.

    An image's seeds are a block: they are averaged first, so that what counts is images, not images times seeds.
    """
    means = differences.mean(axis=0)  #                                                      (images,)
    signs = numpy_generator(0, "sign flips").choice([-1.0, 1.0], size=(FLIPS, len(means)))
    reached = np.abs(signs @ means) >= abs(means.sum()) - 1e-12
    return float((reached.sum() + 1) / (FLIPS + 1))


def markdown(arms: Mapping[str, Sequence[Entry]], references: Mapping[str, str]) -> str:
    """A row an arm; below, each arm's difference from its reference."""
    titles = [title for title, _ in SHOWN.values()]
    lines = [f"| arm | seeds | {' | '.join(titles)} |", f"| --- | ---: |{' ---: |' * len(titles)}"]
    for arm, seeds in arms.items():
        values = summary(seeds)
        cells = [_cell(values.get(name), digits) for name, (_, digits) in SHOWN.items()]
        lines.append(f"| {arm} | {len(seeds)} | {' | '.join(cells)} |")
    lines += ["", "Print error, unpaired, less another arm's:", ""]
    lines += ["| arm | less | of each seed | mean over images | 95 % interval | p |"]
    lines += ["| --- | --- | --- | ---: | ---: | ---: |"]
    for arm, seeds in arms.items():
        reference = references[arm]
        differences = paired_differences(seeds, arms.get(reference, ()))
        if arm == reference or not differences.size:
            continue
        means = differences.mean(axis=0)
        low, high = bootstrap(means.tolist())
        each = ", ".join(f"{value:+.4f}" for value in differences.mean(axis=1))
        p = sign_flip_test(differences)
        lines.append(f"| {arm} | {reference} | {each} | {means.mean():+.4f} | {low:+.4f} to {high:+.4f} | {p:.4f} |")
    return "\n".join(lines) + "\n"


def _cell(values: Mapping[str, Any] | None, digits: int) -> str:
    if values is None:
        return ""
    spread = "" if values["std"] is None else f" ± {values['std']:.{digits}f}"
    return f"{values['mean']:.{digits}f}{spread}"
