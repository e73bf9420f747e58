"""Training of a small autoencoder for the toy model; the full model uses Stable Diffusion's autoencoder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from siftvton.data.dataset import TryOnDataset, as_picture
from siftvton.drawing import contact_sheet
from siftvton.draws import numpy_generator, seed_of, torch_generator
from siftvton.errors import UsageError
from siftvton.files import write_image, write_json, written_whole
from siftvton.model import build
from siftvton.model.inputs import draw_latents
from siftvton.places import require_kept
from siftvton.pool import loader_workers
from siftvton.sampling.loading import load_part
from siftvton.settings import save_configuration
from siftvton.supervision.reference import sent
from siftvton.training import checkpoints
from siftvton.training.config import TrainAutoencoder
from siftvton.training.guards import diverged, not_finite, stop_on_signals, writing
from siftvton.training.identity import claim, data_of
from siftvton.training.launch import accelerator_of
from siftvton.training.resume import require_same
from siftvton.training.state import StreamSampler, learning_rate_factor

KINDS = ("image", "garment", "agnostic", "densepose")
CROPS = ("image", "image", "garment", "garment", "agnostic", "densepose")  # of each pair; the last two are easy
WARMUP = 50  # updates
# ln σ² of the untrained posterior. With σ = 1, the noise would hide the small latents of the first updates, and for a
# long time the autoencoder would learn only brightness, which varies most.
LOG_VARIANCE = -6.0
# Brightness, red against blue, and green against purple; each has about unit deviation on pictures of the toy world.
# In red, green and blue, the third axis has a twentieth of the variance, and an autoencoder ignores it for a long time.
OPPONENT = ((0.5, 0.5, 0.5), (2.5, 0.0, -2.5), (-3.0, 6.0, -3.0))
FREE_KEYS = ("output", "data.root", "data.layout", "workers", "checkpoint_every")
SHEET_ROWS = 8


class Crops(Dataset[tuple[Tensor, tuple[int, int]]]):
    """Crops of every kind of picture that the model encodes; one item holds the crops of one pair."""

    def __init__(self, items: TryOnDataset, size: int, seed: int) -> None:
        """
        Args:
            size: height and width of a crop, pixels. seed: seed for the positions of the crops.
        """
        self.items = items
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """The crops (6, 3, size, size) in [−1, 1] of a pair, by (epoch, index of the pair), and this key."""
        item = self.items[key]
        room = [length - self.size + 1 for length in self.items.size]
        corners = numpy_generator(self.seed, *key, "crops").integers(room, size=(len(CROPS), 2)).tolist()
        crops = [
            getattr(item, kind)[:, top : top + self.size, left : left + self.size]
            for kind, (top, left) in zip(CROPS, corners, strict=True)
        ]
        return torch.stack(crops), key


def reconstruction_loss(
    result: Tensor, pictures: Tensor, squared_weight: float, gradient_weight: float, colour_weight: float
) -> Tensor:
    """The mean absolute difference of each picture, (B,), plus three terms for what it would learn last.

    The squared difference speeds up what is far off, such as colours at first. Horizontal and vertical picture
    gradients keep prints sharp. Opponent colours without brightness, averaged over 4×4 pixels, prevent the latents from
    holding only shades of grey.
    """
    difference = result - pictures
    gradients = difference.diff(dim=-1).abs().mean(dim=(1, 2, 3)) + difference.diff(dim=-2).abs().mean(dim=(1, 2, 3))
    colour = opponent(functional.avg_pool2d(difference, 4))[:, 1:].abs().mean(dim=(1, 2, 3))
    plain, squared = difference.abs().mean(dim=(1, 2, 3)), difference.square().mean(dim=(1, 2, 3))
    return plain + squared_weight * squared + gradient_weight * gradients + colour_weight * colour


def anchor_loss(latents: Tensor, pictures: Tensor) -> Tensor:
    """The squared distance of three latent channels from the mean opponent colours of each cell, (B,).

    Without this loss, all four channels hold brightness and its detail, and green and purple look the same. With it,
    three channels hold the three axes of colour, and the fourth is left for detail.
    """
    colours = opponent(functional.adaptive_avg_pool2d(pictures, (latents.shape[-2], latents.shape[-1])))
    return (latents[:, :3].float() - colours).square().mean(dim=(1, 2, 3))


def opponent(pictures: Tensor) -> Tensor:
    """Convert pictures (B, 3, H, W) from RGB to ``OPPONENT`` colours."""
    return torch.einsum("oc,bchw->bohw", sent(torch.tensor(OPPONENT), pictures.device), pictures)


def train_autoencoder(config: TrainAutoencoder) -> None:
    """Train in one process, then write ``<output>/vae``, its PSNR on the validation pairs and a sheet.

    Raises:
        UsageError: the configuration does not fit itself, the data or the run in ``output``; or there are several
            processes.
        InputError: data cannot be read, or an output cannot be written.
        DivergedError: a loss or a weight is NaN or infinite.
    """
    accelerator = accelerator_of(config.mixed_precision)
    if accelerator.num_processes > 1:
        raise UsageError(
            f"{accelerator.num_processes} processes are not allowed; train the autoencoder in one, without a launcher"
        )
    output = Path(config.output)
    if config.pretrained:
        require_kept(config.pretrained, [output / "vae"], f"pretrained={config.pretrained}")
    vae = _untrained(config)
    _check_crop(config, 2 ** (len(vae.config.block_out_channels) - 1))
    items, held_out = _items(config, "train"), _items(config, "validation")
    crops = Crops(items, config.crop, config.seed)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    progress = checkpoints.Progress(update=0, images=len(CROPS) * config.batch_size)
    vae, optimizer = accelerator.prepare(vae, optimizer)
    learned = checkpoints.Learned(vae, optimizer)
    candidates = checkpoints.find(output, "latest")
    if candidates:
        require_same(config, output / "train_autoencoder.yaml", candidates[0], FREE_KEYS)
    run = claim(output, lambda: data_of(items, held_out.pairs))
    if candidates:
        checkpoints.restore(accelerator, candidates, progress, run, learned)
    with writing(output):
        save_configuration(config, output / "train_autoencoder.yaml")
    batch = config.batch_size
    sampler = StreamSampler(len(crops), config.seed, progress.update * batch, config.updates * batch)
    loader = DataLoader(crops, batch_size=batch, sampler=sampler, **loader_workers(config.workers))
    with stop_on_signals() as stop:
        batches = tqdm(accelerator.prepare(loader), initial=progress.update, total=config.updates, unit="update")
        for values, columns in batches:
            keys = list(zip(*(column.tolist() for column in columns), strict=True))
            pictures = values.flatten(0, 1)  #                                        (6·pairs, 3, size, size)
            loss = _update(config, accelerator, vae, optimizer, pictures, keys, progress.update)
            progress.update += 1
            due = progress.update % config.checkpoint_every == 0 or progress.update == config.updates
            save = due or stop.made
            found = [] if bool(loss.isfinite().all()) else ["the loss is NaN or infinite"]
            if save and not found:
                found = _broken(accelerator, vae, learned, pictures)
            if found:
                images, last = [items.pairs[index].person_id for _, index in keys], checkpoints.saved(output)[-1:]
                raise diverged(progress.update, found, images, last, "lower learning_rate")
            if save:
                checkpoints.save(accelerator, output, progress, keep=1, run=run.id, learned=learned)
            if stop.made:
                print(f"{output}: stopped after update {progress.update}; run the same command again to continue")
                return
    vae.eval()
    vae.register_to_config(scaling_factor=_scaling_factor(vae, items, config.latent_deviation, accelerator.device))
    with writing(output / "vae"), written_whole(output / "vae") as beside:
        vae.save_pretrained(beside)
    _report(config, vae, output, accelerator.device)


def _update(
    config: TrainAutoencoder,
    accelerator: Accelerator,
    vae: AutoencoderKL,
    optimizer: torch.optim.Optimizer,
    pictures: Tensor,
    keys: Sequence[tuple[int, int]],
    update: int,
) -> Tensor:
    """Update the weights once; returns the losses of the pictures.

    Args:
        keys: (epoch, index) of each pair. update: the number of updates before this one.
    """
    with accelerator.autocast():
        loss = _loss(config, vae, pictures, keys)
    accelerator.backward(loss.mean())
    accelerator.clip_grad_norm_(vae.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * learning_rate_factor(update, WARMUP, config.updates)
    optimizer.step()
    optimizer.zero_grad()
    return loss


def _broken(accelerator: Accelerator, vae: AutoencoderKL, learned: checkpoints.Learned, pictures: Tensor) -> list[str]:
    """Descriptions of weights that are not finite, or so large that the pictures overflow."""
    found = [f"{name} is NaN or infinite" for name in not_finite(learned.tensors())]
    with torch.no_grad(), accelerator.autocast():
        results = vae.decode(vae.encode(pictures).latent_dist.mean).sample
    if not bool(results.float().square().mean().isfinite()):
        found.append("the pictures with the new weights are NaN or infinite")
    return found


def _untrained(config: TrainAutoencoder) -> AutoencoderKL:
    """The autoencoder to start from: the pretrained one, or one with random weights."""
    if config.pretrained is not None:
        return load_part(Path(config.pretrained), AutoencoderKL)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(config.seed, "weights"))
        try:
            vae = build.autoencoder(
                config.channels, config.blocks_per_level, config.norm_groups, config.latent_channels
            )
        except ValueError as error:
            raise UsageError(f"channels={config.channels} norm_groups={config.norm_groups}: {error}") from error
    with torch.no_grad():
        vae.quant_conv.bias.chunk(2)[1].fill_(LOG_VARIANCE)
    return vae


def _check_crop(config: TrainAutoencoder, stride: int) -> None:
    size = min(config.data.height, config.data.width)
    if config.crop % stride or config.crop > size:
        raise UsageError(f"crop={config.crop} is not allowed; use a multiple of {stride} up to {size}")
    if config.data.height % stride or config.data.width % stride:
        raise UsageError(
            f"data.height={config.data.height} data.width={config.data.width} is not allowed; "
            f"use multiples of {stride} for both, or fewer levels of channels"
        )


def _loss(config: TrainAutoencoder, vae: AutoencoderKL, pictures: Tensor, keys: Iterable[tuple[int, int]]) -> Tensor:
    """The loss of each picture, (6·pairs,): reconstruction from a draw of the posterior, anchor and KL divergence.

    Args:
        keys: (epoch, index) of each pair; they key the draws.
    """
    posterior = vae.encode(pictures).latent_dist
    shape = (len(CROPS), *posterior.mean.shape[1:])
    noise = [torch.randn(shape, generator=torch_generator(config.seed, *key, "autoencoder")) for key in keys]
    result = vae.decode(posterior.mean + posterior.std * torch.cat(noise).to(pictures.device)).sample
    divergence = posterior.kl() / posterior.mean[0].numel()
    loss = reconstruction_loss(
        result.float(), pictures, config.squared_weight, config.gradient_weight, config.colour_weight
    )
    return loss + config.anchor_weight * anchor_loss(posterior.mean, pictures) + config.kl_weight * divergence


def _items(config: TrainAutoencoder, split: str) -> TryOnDataset:
    data = config.data
    chosen = data.open().split(split)
    augmented = data.augment and split == "train"
    items = TryOnDataset(chosen, chosen.pairs("paired"), data.height, data.width, augmented=augmented, seed=config.seed)
    items.require_files()
    return items


@torch.no_grad()
def _scaling_factor(vae: AutoencoderKL, items: TryOnDataset, deviation: float, device: torch.device) -> float:
    """The factor that gives the latents the standard deviation ``deviation``; 1 is usual (Rombach et al. 2022).

    A smaller deviation makes the same timestep noisier. A small network must then read the garment instead of guessing
    colours that are still visible under the noise (Chen 2023, "On the importance of noise scheduling").
    """
    vae.register_to_config(scaling_factor=1.0)
    latents = []
    for index in range(0, len(items), max(1, len(items) // 64)):
        generators = [torch_generator(0, index, kind, "scaling factor") for kind in KINDS]
        latents.append(draw_latents(vae, _pictures(items, index).to(device), generators))
    return deviation / float(torch.cat(latents).std())


def _pictures(items: TryOnDataset, index: int) -> Tensor:
    """The pictures of a pair in [−1, 1], one of each of ``KINDS``: (4, 3, height, width)."""
    item = items[index]
    return torch.stack([getattr(item, kind) for kind in KINDS])


@torch.no_grad()
def _report(config: TrainAutoencoder, vae: AutoencoderKL, output: Path, device: torch.device) -> None:
    """Write and print the PSNR on the validation pairs, and write a sheet of reconstructions."""
    rows: list[list[np.ndarray]] = []
    captions: list[list[str]] = []
    psnr: dict[str, list[float]] = {kind: [] for kind in KINDS}
    items = _items(config, "validation")
    for index in range(len(items)):
        values = _pictures(items, index).to(device)
        results = vae.decode(vae.encode(values).latent_dist.mean).sample.clamp(-1, 1)
        error = functional.mse_loss(results / 2, values / 2, reduction="none").mean(dim=(1, 2, 3))
        for kind, value in zip(KINDS, (-10 * error.log10()).tolist(), strict=True):
            psnr[kind].append(value)
        if index < SHEET_ROWS:
            rows.append([as_picture(x) for pair in zip(values[:2], results[:2], strict=True) for x in pair])
            captions.append(["photo", "reconstructed", "garment", "reconstructed"])
    means = {kind: float(np.mean(values)) for kind, values in psnr.items() if values}
    write_json(output / "psnr.json", {"pairs": len(items), "psnr_db": means})
    if rows:
        write_image(output / "reconstructions.png", contact_sheet(rows, captions))
    parameters = sum(parameter.numel() for parameter in vae.parameters())
    print(f"{output / 'vae'}: {parameters:,} parameters; PSNR in dB over {len(items)} validation pairs: {means}")
