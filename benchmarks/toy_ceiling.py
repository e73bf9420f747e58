"""The best results that the toy autoencoder allows: the exact renderings, encoded and decoded, as try-on results.

Run ``python benchmarks/toy_ceiling.py checkpoint=checkpoints/toy data.root=… output=…``, then
``scripts/evaluate_toy.py predictions=<output>``. A diffusion model with this autoencoder is not expected to do better.
"""

import json
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from siftvton.cli import run
from siftvton.commands import Command
from siftvton.commands.infer import Infer
from siftvton.data.dataset import TryOnDataset, as_picture
from siftvton.files import write_image
from siftvton.sampling.loading import load
from siftvton.toy.world.garments import sample_garment
from siftvton.toy.world.persons import sample_person
from siftvton.toy.world.render import render
from siftvton.toy.world.write import WORLD_FILE


@torch.no_grad()
def main(config: Infer) -> None:
    data = config.data
    world = json.loads((Path(data.root) / WORLD_FILE).read_text(encoding="utf-8"))
    vae = load(config.checkpoint).vae
    split = data.open().split("test")
    pairs = split.pairs(config.setting)[: config.limit]
    dataset = TryOnDataset(split, pairs, data.height, data.width)
    for index, pair in enumerate(tqdm(pairs)):
        person, garment = (int(name.partition("_")[0]) for name in (pair.person_id, pair.garment_id))
        truth = render(
            sample_person(world["seed"], "test", person),
            sample_garment(world["seed"], "test", garment),
            world["height"],
            world["width"],
        ).photo
        resized = cv2.resize(truth, (data.width, data.height), interpolation=cv2.INTER_LINEAR)
        pixels = torch.tensor(resized).permute(2, 0, 1)[None] / 127.5 - 1
        decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)[0]
        item = dataset[index]
        result = item.image * item.keep_mask + decoded * (1 - item.keep_mask)
        write_image(Path(config.output) / f"{pair.result_id}.png", as_picture(result))


if __name__ == "__main__":
    run(Command(Infer, main, "toy.yaml"))
