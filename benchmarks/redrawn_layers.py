"""A checkpoint in which hooked layers choose anew where to look: their queries and keys get random weights.

python benchmarks/redrawn_layers.py outputs/toy_model/base/model outputs/toy_model/redrawn 1 2 4

A hooked layer that has learned a wrong place, with sharp attention, hardly leaves it in a fine-tuning with supervision.
With random queries and keys, its attention is spread out again, and the supervision can move it. Values and outputs
keep their weights. Layers are numbered in the order of the network, from 1.
"""

from pathlib import Path

import torch
from arguments import count, parser_of, start

from siftvton.errors import InputError
from siftvton.sampling.loading import load, save


def main(checkpoint: str, output: str, layers: list[int], seed: int) -> None:
    pipeline = load(checkpoint)
    names = pipeline.network().hooked_layers("all")
    for number in layers:
        if number > len(names):
            raise InputError(f"layer {number}: {checkpoint} has {len(names)} hooked layers; use 1 to {len(names)}")
    if Path(output).exists():
        raise InputError(f"{output} already exists; name another output, or delete it")
    torch.manual_seed(seed)
    for number in layers:
        layer = pipeline.unet.get_submodule(names[number - 1])
        layer.to_q.reset_parameters()
        layer.to_k.reset_parameters()
    save(pipeline, Path(output))
    print(f"{output}: new queries and keys in {', '.join(names[number - 1] for number in layers)}")


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("checkpoint", help="folder of a saved pipeline")
    parser.add_argument("output", help="folder to write; must not exist")
    parser.add_argument("layers", type=count, nargs="+", help="numbers of the hooked layers")
    parser.add_argument("--seed", type=int, default=0, help="seed of the new weights; default: 0")
    start(main, parser)
