"""Which hooked layer does what? Copies of a checkpoint in which one layer gets nothing from the garment.

``python benchmarks/silenced_layers.py checkpoints/toy outputs/silenced`` writes one folder for each hooked layer, which
``scripts/infer.py checkpoint=outputs/silenced/1`` samples from and ``scripts/evaluate_toy.py`` then scores.
"""

import sys
from pathlib import Path

import torch

from siftvton.sampling.loading import load, save


@torch.no_grad()
def main(checkpoint: str, output: str) -> None:
    layers = load(checkpoint).network().hooked_layers("all")
    for number, name in enumerate(layers, 1):
        pipeline = load(checkpoint)
        for weight in pipeline.unet.get_submodule(name).to_out.parameters():
            weight.zero_()
        save(pipeline, Path(output) / str(number))
        print(f"{output}/{number}: without {name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
