"""The configuration of an experiment."""

from dataclasses import dataclass, field

from siftvton.data.config import Data
from siftvton.options import LARGEST_SEED, WORKERS, option


@dataclass
class Experiment:
    """Train arms that differ in one thing, over seeds, and measure them all alike (toy world)."""

    settings: str = option("configs/experiment.yaml", "YAML that the arms' own commands read", path=True)
    data: Data = field(default_factory=Data)
    base_arm: str = option("", "train.py's keys for the arm that others start from; empty: none does")
    arms: dict[str, str] = option(
        {}, "arms.<name>=<train.py's keys>; {base} is the base's weights, {matches} the folder of the match sets"
    )
    reference: str = option("none", "the arm that the others are compared with")
    references: dict[str, str] = option({}, "references.<arm>=<another arm that this one is compared with>")
    seeds: list[int] = option([0, 1, 2], "seeds for training", minimum=0, maximum=LARGEST_SEED)
    split: str = option("test", "split whose pairs they are measured on", choices=("validation", "test"))
    jobs: int = option(0, "arms that are trained and measured side by side; 0: one a core", minimum=0, maximum=WORKERS)
    output: str = option("outputs/experiment", "folder for runs, results and logs", path=True)
    measures: str = option(
        "outputs/experiment/measures", "folder of a small file an arm and seed; those there stay", path=True
    )
    report: str = option(
        "outputs/experiment/results",
        "path of the tables, without .json and .md; a page with lines for them keeps its text",
        path=True,
    )
