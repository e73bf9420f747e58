"""Write the toy world in VITON-HD's layout."""

from pathlib import Path

from siftvton import cli
from siftvton.config import MakeToyData


def main(config: MakeToyData) -> None:
    from siftvton.data.synthetic.write import write_world  # after the command line is checked

    write_world(
        config.output,
        train_pairs=config.train_pairs,
        test_pairs=config.test_pairs,
        seed=config.seed,
        height=config.height,
        width=config.width,
        exact_map=config.exact_map,
        workers=config.workers,
    )
    cli.save(config, Path(config.output) / "make_toy_data.yaml")


if __name__ == "__main__":
    cli.run(main, MakeToyData, default="toy.yaml")
