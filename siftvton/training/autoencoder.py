"""A small autoencoder trained from scratch, for the toy model; the full model has Stable Diffusion's."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from siftvton import cli
from siftvton.config import TrainAutoencoder
from siftvton.data.dataset import TryOnDataset
from siftvton.data.layout import SplitFolder, in_setting, split_pairs
from siftvton.draws import seed_of, torch_generator
from siftvton.errors import UsageError
from siftvton.files import write_image, write_json, written_whole
from siftvton.inference import picture
from siftvton.model import build
from siftvton.model.network import draw_latents
from siftvton.training import checkpoints
from siftvton.training.state import StreamSampler
from siftvton.visualize import contact_sheet

KINDS = ("image", "garment", "agnostic", "densepose")
FREE_KEYS = ("output", "data.root")
SHEET_ROWS = 8


class Pictures(Dataset[tuple[Tensor, tuple[int, int]]]):
    """Every picture that the model will encode, the four of a pair together."""

    def __init__(self, items: TryOnDataset) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """(epoch, index of the pair) -> its pictures (4, 3, height, width) in [−1, 1], and the key."""
        item = self.items[key]
        return torch.stack([getattr(item, kind) for kind in KINDS]), key


def reconstruction_loss(result: Tensor, pictures: Tensor, gradient_weight: float) -> Tensor:
    """(B,): mean |difference|, plus that of the horizontal and vertical picture gradients, which keeps prints sharp."""
    difference = result - pictures
    gradients = difference.diff(dim=-1).abs().mean(dim=(1, 2, 3)) + difference.diff(dim=-2).abs().mean(dim=(1, 2, 3))
    return difference.abs().mean(dim=(1, 2, 3)) + gradient_weight * gradients


def train_autoencoder(config: TrainAutoencoder) -> None:
    """Train, then write ``<output>/vae``, its PSNR on the validation pairs and a sheet of reconstructions.

    Raises:
        UsageError: the configuration does not fit the data or what lies in ``output``.
        InputError: data cannot be read.
    """
    output = Path(config.output)
    checkpoint = checkpoints.find(output, "latest")
    changed = cli.differences(config, output / "train_autoencoder.yaml") if checkpoint else []
    if any(line.partition(":")[0] not in FREE_KEYS for line in changed):
        raise UsageError(f"{output} holds a run of another configuration ({'; '.join(changed)}); name another output")
    accelerator = Accelerator()
    pictures = Pictures(_items(config, "train"))
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(config.seed, "weights"))
        vae = build.autoencoder(config.channels, config.blocks_per_level, config.norm_groups)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.updates)
    progress = checkpoints.Progress()
    vae, optimizer = accelerator.prepare(vae, optimizer)
    accelerator.register_for_checkpointing(schedule, progress)
    if checkpoint is not None:
        checkpoints.restore(accelerator, checkpoint)
    cli.save(config, output / "train_autoencoder.yaml")
    batch = config.batch_size
    sampler = StreamSampler(len(pictures), config.seed, progress.update * batch, config.updates * batch)
    loader = accelerator.prepare(DataLoader(pictures, batch_size=batch, sampler=sampler, num_workers=config.workers))
    for values, (epochs, indices) in tqdm(loader, initial=progress.update, total=config.updates, unit="update"):
        values = values.flatten(0, 1)  #                                              (4·pairs, 3, height, width)
        posterior = vae.encode(values).latent_dist
        shape = (len(KINDS), *posterior.mean.shape[1:])
        keys = zip(epochs.tolist(), indices.tolist(), strict=True)
        noise = torch.cat(
            [torch.randn(shape, generator=torch_generator(config.seed, *key, "autoencoder")) for key in keys]
        )
        result = vae.decode(posterior.mean + posterior.std * noise.to(values.device)).sample
        divergence = posterior.kl() / posterior.mean[0].numel()
        loss = reconstruction_loss(result, values, config.gradient_weight) + config.kl_weight * divergence
        accelerator.backward(loss.mean())
        accelerator.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        progress.update += 1
        if progress.update % config.checkpoint_every == 0 or progress.update == config.updates:
            checkpoints.save(accelerator, output, progress, keep=1)
    vae = accelerator.unwrap_model(vae).eval()
    vae.register_to_config(scaling_factor=_scaling_factor(vae, pictures, accelerator.device))
    with written_whole(output / "vae") as beside:
        vae.save_pretrained(beside)
    _report(config, vae, output, accelerator.device)


def _items(config: TrainAutoencoder, split: str) -> TryOnDataset:
    data = config.data
    pairs = in_setting(split_pairs(data.root, split, data.validation_pairs, data.split_seed), "paired")
    augmented = data.augment and split == "train"
    folder = SplitFolder(data.root, split)
    items = TryOnDataset(folder, pairs, data.height, data.width, augmented=augmented, seed=config.seed)
    items.require_files()
    return items


@torch.no_grad()
def _scaling_factor(vae: AutoencoderKL, pictures: Pictures, device: torch.device) -> float:
    """1 / deviation of the latents, so that the diffusion model's are of unit variance (Rombach et al. 2022)."""
    vae.register_to_config(scaling_factor=1.0)
    latents = []
    for index in range(0, len(pictures), max(1, len(pictures) // 64)):
        generators = [torch_generator(0, index, kind, "scaling factor") for kind in KINDS]
        latents.append(draw_latents(vae, pictures[0, index][0].to(device), generators))
    return 1 / float(torch.cat(latents).std())


@torch.no_grad()
def _report(config: TrainAutoencoder, vae: AutoencoderKL, output: Path, device: torch.device) -> None:
    rows: list[list[np.ndarray]] = []
    captions: list[list[str]] = []
    psnr: dict[str, list[float]] = {kind: [] for kind in KINDS}
    items = _items(config, "validation")
    for index in range(len(items)):
        item = items[index]
        values = torch.stack([getattr(item, kind) for kind in KINDS]).to(device)
        results = vae.decode(vae.encode(values).latent_dist.mean).sample.clamp(-1, 1)
        error = functional.mse_loss(results / 2, values / 2, reduction="none").mean(dim=(1, 2, 3))
        for kind, value in zip(KINDS, (-10 * error.log10()).tolist(), strict=True):
            psnr[kind].append(value)
        if index < SHEET_ROWS:
            rows.append([picture(x) for pair in zip(values[:2], results[:2], strict=True) for x in pair])
            captions.append(["photo", "reconstructed", "garment", "reconstructed"])
    means = {kind: float(np.mean(values)) for kind, values in psnr.items() if values}
    write_json(output / "psnr.json", {"pairs": len(items), "psnr_db": means})
    if rows:
        write_image(output / "reconstructions.png", contact_sheet(rows, captions))
    parameters = sum(parameter.numel() for parameter in vae.parameters())
    print(f"{output / 'vae'}: {parameters:,} parameters; PSNR in dB over {len(items)} validation pairs: {means}")
