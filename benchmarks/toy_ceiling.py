"""The best results that an autoencoder allows: the exact renderings, encoded and decoded, as try-on results.

python benchmarks/toy_ceiling.py data.root=data/toy output=outputs/toy_ceiling      about four pairs a second
python scripts/evaluate_toy.py data.root=data/toy predictions=outputs/toy_ceiling   scores them

A diffusion model with this autoencoder is not expected to do better. All keys of `scripts/infer.py` are allowed; those
of sampling have no effect. The output folder gets one PNG for each pair.
"""

from pathlib import Path

import torch
from tqdm import tqdm

from siftvton.cli import run
from siftvton.commands import Command
from siftvton.commands.infer import Infer
from siftvton.data.dataset import TryOnDataset, as_picture, resized, signed
from siftvton.files import write_image
from siftvton.sampling.loading import load
from siftvton.toy.worlds import number_of, world_of


@torch.no_grad()
def main(config: Infer) -> None:
    data = config.data
    vae = load(config.checkpoint).vae
    split = data.open().split(data.split)
    world = world_of(split)
    pairs = split.pairs(config.setting)[: config.limit]
    dataset = TryOnDataset(split, pairs, *data.size)
    for item in tqdm(map(dataset.__getitem__, range(len(pairs))), total=len(pairs), unit="pair"):
        garment = world.garment(number_of(item.pair.garment_id))
        truth = world.rendering(number_of(item.pair.person_id), garment).photo
        pixels = signed(resized(truth, data.size))[None]
        decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)[0]
        result = item.image * item.keep_mask + decoded * (1 - item.keep_mask)
        write_image(Path(config.output) / f"{item.pair.result_id}.png", as_picture(result))


if __name__ == "__main__":
    run(Command(Infer, main, "toy.yaml"))
