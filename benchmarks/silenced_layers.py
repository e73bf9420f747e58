"""Which hooked layer does what? Copies of a checkpoint in which one layer gets nothing from the garment.

python benchmarks/silenced_layers.py checkpoint=checkpoints/toy output=outputs/silenced      seconds for each layer
python scripts/infer.py checkpoint=outputs/silenced/1 data.root=data/toy                     without the first layer

The output folder gets one checkpoint for each hooked layer. `scripts/evaluate_toy.py` scores the results.
"""

from pathlib import Path

import torch

from siftvton.cli import run
from siftvton.commands import Command
from siftvton.commands.infer import Infer
from siftvton.sampling.loading import load, save


@torch.no_grad()
def main(config: Infer) -> None:
    for number, name in enumerate(load(config.checkpoint).network().hooked_layers("all"), 1):
        pipeline = load(config.checkpoint)
        for weight in pipeline.unet.get_submodule(name).to_out.parameters():
            weight.zero_()
        folder = Path(config.output) / str(number)
        save(pipeline, folder)
        print(f"{folder}: without {name}")


if __name__ == "__main__":
    run(Command(Infer, main, "toy.yaml"))
