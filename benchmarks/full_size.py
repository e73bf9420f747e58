"""One step of the full-size network with random weights on one photo pair: time and peak memory.

python benchmarks/full_size.py train person.jpg garment.jpg      one fine-tuning update with gradient checkpointing
python benchmarks/full_size.py sample person.jpg garment.jpg     one guided sampling step with encoding and decoding

This runs on the CPU, in one to two minutes. Fine-tuning needs about 20 GB. The region to paint is the middle half of
the photo, and the DensePose picture is black. The figures are printed; no files are written.
"""

import time

import numpy as np
import torch
from arguments import parser_of
from memory import GUIDANCE
from processes import peak

from siftvton.correspondence import find_correspondences
from siftvton.data.dataset import TryOnBatch, signed
from siftvton.data.layouts.polarity import MID_GREY
from siftvton.data.pairs import Pair
from siftvton.files import read_image
from siftvton.model import build
from siftvton.model.inputs import noised
from siftvton.model.network import TryOnNetwork
from siftvton.sampling.batch import generate
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.training.config import SupervisionConfig
from siftvton.training.state import select_trainable
from siftvton.training.step import step_losses

SIZE = (512, 384)


def photo_pair(person: str, garment: str) -> TryOnBatch:
    """A batch of one pair, made from two photos of any size."""
    photo, flat = read_image(person, SIZE), read_image(garment, SIZE)
    paint = np.zeros(SIZE, bool)
    paint[SIZE[0] // 4 : 3 * SIZE[0] // 4, SIZE[1] // 4 : 3 * SIZE[1] // 4] = True
    agnostic = np.where(paint[..., None], MID_GREY, photo).astype(np.uint8)
    matches = find_correspondences(photo, flat)
    print(f"{len(matches)} matches")

    return TryOnBatch(
        image=signed(photo)[None],
        agnostic=signed(agnostic)[None],
        densepose=-torch.ones(1, 3, *SIZE),
        keep_mask=1 - torch.from_numpy(paint)[None, None].float(),
        garment=signed(flat)[None],
        worn_mask=None,
        matches=[matches],
        pair=[Pair("person.jpg", "garment.jpg")],
        key=[(0, 0)],
    )


def train_step(pipeline: TryOnPipeline, batch: TryOnBatch) -> None:
    """Run one fine-tuning update; print its losses and its time."""
    parts = {name: part for name, part in pipeline.components.items() if name not in ("vae", "scheduler")}
    network = TryOnNetwork(**parts)
    pipeline.vae.requires_grad_(False)
    network.unet.enable_gradient_checkpointing()
    network.garment_encoder.enable_gradient_checkpointing()
    optimizer = torch.optim.AdamW(select_trainable(network, "finetune"), lr=1e-4)
    trained = sum(parameter.numel() for group in optimizer.param_groups for parameter in group["params"])
    print(f"{trained / 1e6:.0f} M parameters are trained")
    start = time.perf_counter()
    inputs = noised(pipeline.vae, pipeline.scheduler, batch, seed=0, dropout=0.0)
    supervision = SupervisionConfig(max_timestep=999)  # supervises the step at any timestep
    with step_losses(network, network, pipeline.scheduler, batch, inputs, supervision, 5.0) as losses:
        losses.total.mean().backward()
    optimizer.step()
    elapsed = time.perf_counter() - start
    noise, sift = losses.noise.item(), losses.attention["sift"].item()
    print(f"noise error {noise:.3f}, Eq. 2 {sift:.3f}; one update: {elapsed:.1f} s")


def sampling_step(pipeline: TryOnPipeline, batch: TryOnBatch) -> None:
    """Sample with one step; print the time."""
    start = time.perf_counter()
    (result,) = generate(pipeline, batch, seed=0, steps=1, guidance=GUIDANCE)
    elapsed = time.perf_counter() - start
    print(f"{result.shape}; encoding, one guided step, decoding: {elapsed:.1f} s")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", choices=("train", "sample"))
    parser.add_argument("person")
    parser.add_argument("garment")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    parts = {**build.full_parts(), "scheduler": build.scheduler()}
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            print(f"{name}: {sum(parameter.numel() for parameter in part.parameters()) / 1e6:.1f} M parameters")
    batch = photo_pair(arguments.person, arguments.garment)
    (train_step if arguments.what == "train" else sampling_step)(TryOnPipeline(**parts), batch)
    print(f"peak memory {peak():.1f} GiB, {torch.get_num_threads()} threads, float32, 512×384, batch 1")


if __name__ == "__main__":
    main()
