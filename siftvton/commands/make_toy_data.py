"""Draw the toy world and write it in VITON-HD's or DressCode's layout."""

from dataclasses import dataclass
from pathlib import Path

from siftvton.commands import Command
from siftvton.options import LARGEST_SEED, LARGEST_SIDE, WORKERS, option


@dataclass
class MakeToyData:
    """Draw the toy world and write it in VITON-HD's or DressCode's layout."""

    layout: str = option(
        "vitonhd",
        "vitonhd: tops, on persons from the head to the hips; dresscode: tops, lower bodies and dresses in turn, on "
        "persons from the head to the feet",
        choices=("vitonhd", "dresscode"),
    )
    output: str = option("data/toy", "folder for the data", path=True)
    train_pairs: int = option(64, "number of training pairs", minimum=1, maximum=10**6)
    test_pairs: int = option(16, "number of test pairs; layout=dresscode needs 6 or more", minimum=2, maximum=10**6)
    height: int = option(512, "height of every picture in pixels", minimum=64, maximum=LARGEST_SIDE)
    width: int = option(384, "width of every picture in pixels", minimum=48, maximum=LARGEST_SIDE)
    seed: int = option(0, "seed for all persons, garments and prints", minimum=0, maximum=LARGEST_SEED)
    exact_map: bool = option(
        False, "also write, for each pair, the exact map from the pixels of the photo to points of the garment"
    )
    workers: int = option(0, "number of processes; 0: one for each core", minimum=0, maximum=WORKERS)


def make_toy_data(config: MakeToyData) -> str:
    from siftvton.settings import save_configuration
    from siftvton.toy.world.write import write_world
    from siftvton.toy.world.write_dresscode import write_dresscode

    write = write_dresscode if config.layout == "dresscode" else write_world
    write(
        config.output,
        train_pairs=config.train_pairs,
        test_pairs=config.test_pairs,
        seed=config.seed,
        height=config.height,
        width=config.width,
        exact_map=config.exact_map,
        workers=config.workers,
    )
    save_configuration(config, Path(config.output) / "make_toy_data.yaml")
    return f"{config.output}: {config.train_pairs} training pairs and {config.test_pairs} test pairs"


COMMAND = Command(MakeToyData, make_toy_data, "toy.yaml")
