"""Sampling with the full-size network and random weights: time and peak memory.

python benchmarks/full_size.py        one guided step of one picture with encoding and decoding, on the CPU

This takes one to two minutes and about 8 GiB. The figures are printed; no files are written. `training_step.py`
measures a training update of the same network.
"""

import time

import torch
from arguments import parser_of
from cases import GUIDANCE, SIZES, batch_of
from processes import peak

from siftvton.model import build
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.batch import generate
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.training.state import select_trainable


def main() -> None:
    parser_of(__doc__).parse_args()
    torch.manual_seed(0)
    size = SIZES["full"]
    parts = size.parts()
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}
    trained = select_trainable(
        TryOnNetwork(**{name: part for name, part in parts.items() if name != "vae"}), "finetune"
    )
    counts["trained in fine-tuning"] = sum(parameter.numel() for parameter in trained)
    for name, count in counts.items():
        print(f"{name}: {count / 1e6:.1f} M parameters")
    pipeline = TryOnPipeline(**parts, scheduler=build.scheduler())
    batch = batch_of(1, size.pictures, torch.device("cpu"), None)
    start = time.perf_counter()
    (result,) = generate(pipeline, batch, seed=0, steps=1, guidance=GUIDANCE)
    elapsed = time.perf_counter() - start
    print(f"{result.shape}; encoding, one guided step, decoding: {elapsed:.1f} s")
    print(f"peak memory {peak():.1f} GiB, {torch.get_num_threads()} threads, float32, 512×384, batch 1")


if __name__ == "__main__":
    main()
