"""The results of an experiment: means over seeds with deviations, and differences between arms, paired by image."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from siftvton.draws import numpy_generator
from siftvton.errors import InputError, UsageError
from siftvton.evaluation.intervals import bootstrap
from siftvton.experiment.config import Experiment
from siftvton.files import read_json, write_json, write_text
from siftvton.tables import markdown_table

FLIPS = 10_000  # random draws of the permutation test
PRIMARY = "print_error_unpaired"
SHOWN = {
    PRIMARY: ("print error, unpaired ↓", 4),
    "print_error_paired": ("print error, paired ↓", 4),
    "print_similarity_unpaired": ("print SSIM, unpaired ↑", 3),
    "perceptual_distance_unpaired": ("LPIPS of the painted area, unpaired ↓", 3),
    "ssim_paired": ("SSIM, paired ↑", 3),
    "frechet_unpaired": ("Fréchet distance ↓", 2),
    "kernel_unpaired": ("kernel distance ↓", 2),
    "attention_error_px": ("attention error, px ↓", 1),
    "attention_pck": ("attention PCK ↑", 3),
}
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
Entry = Mapping[str, Any]  # the content of the file of one arm and seed


def write_report(config: Experiment) -> str:
    """Write ``<report>.json`` (arm -> measure -> mean, std, per_seed) and ``<report>.md``, and return the tables.

    If ``<report>.md`` exists, the tables replace the text between ``BEGIN`` and ``END``; the rest stays.

    Raises:
        InputError: a file of measures is broken, or ``<report>.md`` is not UTF-8 text.
        UsageError: ``<report>.md`` lacks ``BEGIN`` or ``END``.
    """
    arms = _read(Path(config.measures), list(config.arms))
    write_json(Path(f"{config.report}.json"), {arm: summary(seeds) for arm, seeds in arms.items()})
    tables = markdown(arms, {arm: config.references.get(arm, config.reference) for arm in arms})
    page = Path(f"{config.report}.md")
    before, after = "", "\n"
    if page.is_file():
        try:
            before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        except UnicodeDecodeError as error:
            raise InputError(f"{page}: not UTF-8 text; save it as UTF-8, or use another report") from error
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise UsageError(
                f"{page}: has no lines {BEGIN} and {END}, between which the tables go; add them, or use another report"
            )
    write_text(page, f"{before}{BEGIN}\n{tables}{END}{after}")
    return tables


def _read(folder: Path, arms: Sequence[str]) -> dict[str, list[Entry]]:
    """Read the files of the arms: arm -> its entries, sorted by seed. Arms without a file are left out."""
    found: dict[str, list[Entry]] = {}
    for arm in arms:
        names = re.compile(rf"{re.escape(arm)}-seed-\d+\.json")
        paths = [path for path in folder.glob("*-seed-*.json") if names.fullmatch(path.name)]
        if paths:
            found[arm] = sorted(map(read_entry, paths), key=lambda entry: entry["seed"])
    return found


def read_entry(path: Path) -> Entry:
    """Read the file of one arm and seed.

    Raises:
        InputError: ``experiment`` did not write this content, or a measure is not a finite number.
    """
    entry = read_json(path)
    measures, errors = _part(entry, "measures"), _part(_part(entry, "per_image"), PRIMARY)
    arm, _, number = path.stem.rpartition("-seed-")
    seed = int(number)
    if measures is None or errors is None:
        wrong = f"lacks measures or per_image.{PRIMARY}"
    elif entry.get("arm") != arm:
        wrong = f"arm is {entry.get('arm')!r}, not {arm!r} as in its name"
    elif entry.get("seed") != seed:
        wrong = f"seed is {entry.get('seed')!r}, not {seed} as in its name"
    else:
        values = {f"measures.{name}": value for name, value in measures.items()}
        values |= {f"per_image.{PRIMARY}.{name}": value for name, value in errors.items()}
        name = next((name for name, value in values.items() if not _is_finite(value)), None)
        if name is None:
            return entry
        wrong = f"{name} is {values[name]!r}, not a finite number"
    raise InputError(f"{path}: {wrong}; delete the file and run the command again, which measures this arm again")


def _part(content: Any, name: str) -> Mapping[str, Any] | None:
    """A dictionary inside a dictionary, or None if one of the two is something else."""
    part = content.get(name) if isinstance(content, dict) else None
    return part if isinstance(part, dict) else None


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def summary(seeds: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation (n − 1) of each measure over seeds; one seed has no deviation."""
    report = {}
    for name in seeds[0]["measures"]:
        values = [entry["measures"][name] for entry in seeds if name in entry["measures"]]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        report[name] = {"mean": float(np.mean(values)), "std": deviation, "per_seed": values}
    return report


def paired_differences(arm: Sequence[Entry], reference: Sequence[Entry]) -> np.ndarray:
    """Primary measure of the arm minus that of the reference: (seeds, images) that both have."""
    others = {entry["seed"]: entry["per_image"][PRIMARY] for entry in reference}
    both = [(entry["per_image"][PRIMARY], others[entry["seed"]]) for entry in arm if entry["seed"] in others]
    images = sorted(set.intersection(*(own.keys() & other.keys() for own, other in both))) if both else []
    return np.array([[own[image] - other[image] for image in images] for own, other in both])


def sign_flip_test(differences: np.ndarray) -> float:
    """Two-sided p of a paired permutation test, which changes the signs of the images' mean differences at random.

    The seeds of an image are averaged first, so that each image counts once.

    Args:
        differences: (seeds, images).
    """
    if differences.shape[1] < 2:  # both signs of one value are equally far from 0, and SciPy refuses one value
        return 1.0
    test = stats.permutation_test(
        (differences.mean(axis=0),),  #                                                      (images,)
        np.mean,
        permutation_type="samples",
        n_resamples=FLIPS - 1,  # SciPy adds the observed signs as one more draw
        random_state=numpy_generator(0, "sign flips"),
    )
    return float(test.pvalue)


def markdown(arms: Mapping[str, Sequence[Entry]], references: Mapping[str, str]) -> str:
    """Make the tables: one row for each arm, and the difference of each arm from its reference."""
    values = {arm: summary(seeds) for arm, seeds in arms.items()}
    shown = [name for name in SHOWN if any(name in of_arm for of_arm in values.values())]
    titles = [SHOWN[name][0] for name in shown]
    rows = []
    for arm, seeds in arms.items():
        cells = [_cell(values[arm].get(name), SHOWN[name][1]) for name in shown]
        rows.append([arm, str(len(seeds)), *cells])
    compared = []
    for arm, seeds in arms.items():
        reference = references[arm]
        differences = paired_differences(seeds, arms.get(reference, ()))
        if arm == reference or not differences.size:
            continue
        means = differences.mean(axis=0)
        low, high = bootstrap(means.tolist())
        each = ", ".join(f"{value:+.4f}" for value in differences.mean(axis=1))
        p = sign_flip_test(differences)
        compared.append([arm, reference, each, f"{means.mean():+.4f}", f"{low:+.4f} to {high:+.4f}", f"{p:.4f}"])
    lines = [
        *markdown_table(["arm", "seeds", *titles], rows),
        "",
        "Differences in print error, unpaired (arm minus reference):",
        "",
        *markdown_table(["arm", "reference", "each seed", "mean over images", "95 % interval", "p"], compared, 3),
    ]
    return "\n".join(lines) + "\n"


def _cell(values: Mapping[str, Any] | None, digits: int) -> str:
    if values is None:
        return ""
    spread = "" if values["std"] is None else f" ± {values['std']:.{digits}f}"
    return f"{values['mean']:.{digits}f}{spread}"
