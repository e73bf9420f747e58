"""The configuration of an experiment."""

from dataclasses import dataclass, field

from siftvton.data.config import Data
from siftvton.options import LARGEST_SEED, WORKERS, option


@dataclass
class Experiment:
    """Train variants ("arms") over several seeds, measure all in the same way and write one table (toy world)."""

    settings: str = option(
        "configs/experiment.yaml", "YAML file with keys for the commands that train and measure the arms", path=True
    )
    data: Data = field(default_factory=Data)
    base_weights: str = option(
        "outputs/toy_model/base/model",
        "weights that arms start from: a folder, a file or a Hugging Face repository, as for `model.pretrained` of "
        "train.py; {base} in the arms' keys stands for it",
        path=True,
    )
    arms: dict[str, str] = option(
        {},
        "variants to train: arms.<name>=<keys of train.py>; {base} stands for `base_weights`, {matches} for the folder "
        "of the match sets",
    )
    reference: str = option("none", "name of the arm that the other arms are compared with")
    references: dict[str, str] = option(
        {}, "arms to compare with an arm other than `reference`: references.<arm>=<the other arm>"
    )
    seeds: list[int] = option(
        [0, 1, 2], "seeds for training; every arm is trained once with each", minimum=0, maximum=LARGEST_SEED
    )
    split: str = option("test", "split of the data to measure the arms on", choices=("validation", "test"))
    jobs: int = option(
        0, "number of arms to train and measure at the same time; 0: one for each core", minimum=0, maximum=WORKERS
    )
    output: str = option("outputs/experiment", "folder for runs, results and logs", path=True)
    measures: str = option(
        "outputs/experiment/measures",
        "folder for the measures, one small file for each arm and seed; existing files are kept",
        path=True,
    )
    report: str = option(
        "outputs/experiment/results",
        "path of the tables, without .json or .md; an existing .md page needs two marker lines, and its other text is "
        "kept",
        path=True,
    )
