"""Where on the garment toy results have the wrong colour, from the collar to the hem.

python benchmarks/toy_colour.py data.root=data/toy predictions=outputs/demo/unpaired      about five pairs a second

The rows in which the garment is worn are divided into fifths of equal area. A fifth is right under the same rule as the
mean colour of the whole garment in `scripts/evaluate_toy.py`. If only the lowest fifth is wrong, the length of the
garment is. Of the keys of `scripts/evaluate_toy.py`, it uses `data`, `predictions`, `setting` and `limit`. It writes no
files.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from siftvton.cli import run
from siftvton.commands import Command
from siftvton.commands.evaluate_toy import EvaluateToy
from siftvton.errors import InputError
from siftvton.evaluation.intervals import wilson
from siftvton.tables import markdown_table
from siftvton.toy.measures import RIGHT_COLOUR, cases_of, colour_distance, ground_truth_of, read_result
from siftvton.wording import counted

PARTS = ("upper fifth", "second", "third", "fourth", "lowest fifth", "upper three fifths", "whole garment")
UPPER, WHOLE = PARTS.index("upper three fifths"), PARTS.index("whole garment")


def main(config: EvaluateToy) -> str:
    split = config.data.open().split(config.data.split)
    pairs = split.pairs(config.setting)[: config.limit]
    cases = cases_of(split, pairs, Path(config.predictions), config.data.size, others=0, seed=config.seed)
    distances = []
    for case in tqdm(cases, unit="pair"):
        result, known = read_result(case), ground_truth_of(case)
        if known.worn.any():
            distances.append([colour_distance(result, known.truth, part) for part in parts_of(known.worn)])
    if not distances:
        raise InputError(f"{config.predictions}: no result shows a garment; use more pairs")
    rows = []
    for name, each in zip(PARTS, zip(*distances, strict=True), strict=True):
        found = [distance for distance in each if distance is not None]
        right = sum(distance <= RIGHT_COLOUR for distance in found)
        low, high = wilson(right, len(found))
        rows.append([name, f"{right / len(found):.1%}", f"{low:.0%} to {high:.0%}", f"{np.mean(found):.1f}"])
    wrong = [each for each in distances if each[WHOLE] > RIGHT_COLOUR]
    below = sum(each[UPPER] is not None and each[UPPER] <= RIGHT_COLOUR for each in wrong)
    table = markdown_table(["part", "right colour", "95 % interval", "mean distance"], rows)
    note = f"{len(wrong)} of {counted(len(distances), 'garment')} have a wrong mean colour; of these, {below} are right"
    return "\n".join([*table, "", f"{note} in the upper three fifths"])


def parts_of(worn: np.ndarray) -> list[np.ndarray]:
    """The parts of a worn garment, (height, width) bool each, in the order of ``PARTS``."""
    rows = np.arange(len(worn))[:, None]
    edges = np.quantile(np.nonzero(worn)[0], [0, 0.2, 0.4, 0.6, 0.8]).round()
    fifths = [worn & (rows >= low) & (rows < high) for low, high in zip(edges, [*edges[1:], len(worn)], strict=True)]
    return [*fifths, worn & (rows < edges[3]), worn]


if __name__ == "__main__":
    run(Command(EvaluateToy, main, "toy.yaml"))
