"""The training loop, on accelerate."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from diffusers import AutoencoderKL
from torch.utils.data import DataLoader
from tqdm import tqdm

from siftvton import cli
from siftvton.config import Train
from siftvton.data.dataset import TryOnDataset, collate
from siftvton.data.layout import MATCHES, SplitFolder, in_setting, split_pairs
from siftvton.draws import seed_of
from siftvton.errors import UsageError
from siftvton.files import write_text
from siftvton.model import build
from siftvton.model.loading import load, load_part, save
from siftvton.model.network import TryOnNetwork
from siftvton.training import checkpoints
from siftvton.training.state import StreamSampler, learning_rate_factor, select_trainable
from siftvton.training.step import noised, step_losses
from siftvton.training.validation import pipeline_of, validation_set, write_validation_sheet

# What may change between the starts of one run: none of it changes a draw, or what an update computes from it.
FREE_KEYS = (
    "output",
    "resume",
    "data.root",
    "data.matches",
    "train.epochs",
    "train.updates",
    "train.workers",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.validate_every",
    "train.validation_pictures",
    "train.validation_steps",
    "train.tracker",
    "train.cpu",
)


def train(config: Train) -> None:
    """Train as configured; go on where an earlier start stopped. Writes ``<output>/model`` when done.

    Raises:
        UsageError: the configuration does not fit itself, the data, or the run in ``output``.
        InputError: data or weights cannot be read.
    """
    output = Path(config.output)
    settings = config.train
    checkpoint = checkpoints.find(output, config.resume)
    _check_same_configuration(config, output)
    accelerator = Accelerator(
        mixed_precision=settings.mixed_precision,
        gradient_accumulation_steps=settings.accumulation,
        log_with=settings.tracker,
        project_dir=str(output),
        cpu=settings.cpu,
        dataloader_config=DataLoaderConfiguration(even_batches=False),
    )
    dataset = training_set(config)
    validation = validation_set(config)
    vae, network = _parts(config)
    _check_size(config, pipeline_of(network, vae).stride)
    if settings.gradient_checkpointing:
        network.unet.enable_gradient_checkpointing()
        network.garment_encoder.enable_gradient_checkpointing()
    vae.requires_grad_(False).to(accelerator.device)
    optimizer = torch.optim.AdamW(
        select_trainable(network, settings.trainable), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: learning_rate_factor(update, settings.warmup_updates)
    )
    inner, progress = network, checkpoints.Progress()
    network, optimizer = accelerator.prepare(network, optimizer)
    accelerator.register_for_checkpointing(schedule, progress)
    if checkpoint is not None:
        checkpoints.restore(accelerator, checkpoint)
    if accelerator.is_main_process:
        cli.save(config, output / "train.yaml")
        _cut_metrics(output / "metrics.jsonl", progress.update)
    if settings.tracker:
        accelerator.init_trackers("siftvton")
    batch_size = settings.batch_size * settings.accumulation * accelerator.num_processes
    updates = _updates(config, len(dataset), batch_size)
    sampler = StreamSampler(len(dataset), settings.seed, progress.update * batch_size, updates * batch_size)
    loader = accelerator.prepare(
        DataLoader(
            dataset,
            batch_size=settings.batch_size,
            sampler=sampler,
            num_workers=settings.workers,
            collate_fn=collate,
            pin_memory=accelerator.device.type == "cuda",
        )
    )
    scheduler = build.scheduler()
    sums = torch.zeros(4, device=accelerator.device)
    bar = tqdm(total=updates, initial=progress.update, unit="update", disable=not accelerator.is_local_main_process)
    for batch in loader:
        with accelerator.accumulate(network):
            with accelerator.autocast():
                inputs = noised(vae, scheduler, batch, settings.seed, settings.dropout)
            with step_losses(
                network, inner, scheduler, batch, inputs, config.supervision, settings.min_snr_gamma
            ) as losses:
                accelerator.backward(losses.total.mean())
            sums += torch.stack([part.detach().mean() for part in vars(losses).values()])
            if accelerator.sync_gradients and settings.max_gradient_norm is not None:
                accelerator.clip_grad_norm_(network.parameters(), settings.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
        if not accelerator.sync_gradients:
            continue
        rate = float(schedule.get_last_lr()[0])
        schedule.step()
        progress.update += 1
        means = accelerator.reduce(sums / settings.accumulation, reduction="mean").tolist()
        sums.zero_()
        _log(
            accelerator, output, progress.update, dict(zip(("loss", "noise", "sift", "atv"), means, strict=True)), rate
        )
        bar.set_postfix(loss=f"{means[0]:.4f}", sift=f"{means[2]:.3f}", images=progress.update * batch_size)
        bar.update()
        last = progress.update == updates
        if validation is not None and (progress.update % settings.validate_every == 0 or last):
            _validate(accelerator, config, inner, vae, validation, progress.update)
        if progress.update % settings.checkpoint_every == 0 or last:
            checkpoints.save(accelerator, output, progress, settings.keep_checkpoints)
    bar.close()
    if accelerator.is_main_process:
        save(pipeline_of(inner, vae), output / "model")
        print(f"{output / 'model'}: trained for {progress.update} updates of {batch_size} images")
    accelerator.end_training()


def training_set(config: Train) -> TryOnDataset:
    """The training pairs with their matches, after a look that every file is there."""
    data = config.data
    pairs = split_pairs(data.root, data.split, data.validation_pairs, data.split_seed)
    folder = SplitFolder(data.root, data.split)
    matches = None
    if config.supervision.weight:
        matches = data.matches or folder.folder / MATCHES
    dataset = TryOnDataset(
        folder,
        in_setting(pairs, "paired"),
        data.height,
        data.width,
        matches=matches,
        matches_frame=(data.matches_frame[0], data.matches_frame[1]),
        worn_mask=config.supervision.atv_weight > 0,
        augmented=data.augment,
        seed=config.train.seed,
    )
    dataset.require_files()
    return dataset


def _parts(config: Train) -> tuple[AutoencoderKL, TryOnNetwork]:
    if config.model.pretrained:
        pipeline = load(config.model.pretrained)
        parts = {name: getattr(pipeline, name) for name in pipeline.components if name not in ("vae", "scheduler")}
        return pipeline.vae, TryOnNetwork(**parts)
    if not config.model.autoencoder:
        raise UsageError(
            "model.autoencoder=null: training from scratch needs a trained autoencoder's folder "
            "(scripts/train_autoencoder.py makes one); or name weights to start from by model.pretrained"
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(config.train.seed, "weights"))
        network = TryOnNetwork(**build.network_parts(config.model))
    return load_part(Path(config.model.autoencoder), AutoencoderKL), network


def _check_size(config: Train, stride: int) -> None:
    height, width = config.data.height, config.data.width
    if height % stride or width % stride:
        raise UsageError(f"data.height={height} data.width={width}: multiples of {stride} are allowed")


def _check_same_configuration(config: Train, output: Path) -> None:
    saved = output / "train.yaml"
    changed = cli.differences(config, saved) if saved.is_file() and checkpoints.saved(output) else []
    changed = [line for line in changed if line.partition(":")[0] not in FREE_KEYS]
    if changed:
        raise UsageError(f"{output} holds a run of another configuration ({'; '.join(changed)}); name another output")


def _updates(config: Train, pairs: int, batch_size: int) -> int:
    if config.train.updates is not None:
        return config.train.updates
    if config.train.epochs is None:
        raise UsageError("train.epochs=null train.updates=null: one of them is wanted")
    return math.ceil(config.train.epochs * pairs / batch_size)


def _log(accelerator: Accelerator, output: Path, update: int, losses: dict[str, float], rate: float) -> None:
    accelerator.log({**losses, "learning_rate": rate}, step=update)
    if accelerator.is_main_process:
        with (output / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"update": update, **losses, "learning_rate": rate}) + "\n")


def _cut_metrics(path: Path, update: int) -> None:
    """Drop what was logged after the checkpoint that the run goes on from."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if json.loads(line)["update"] <= update]
        write_text(path, "".join(f"{line}\n" for line in kept))


def _validate(
    accelerator: Accelerator, config: Train, network: TryOnNetwork, vae: AutoencoderKL, dataset: Any, update: int
) -> None:
    if accelerator.is_main_process:
        path = Path(config.output) / "validation" / f"update-{update:07d}.png"
        with accelerator.autocast():
            sheet = write_validation_sheet(config, pipeline_of(network, vae), dataset, path)
        for tracker in accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.writer.add_image("validation", sheet, update, dataformats="HWC")
    accelerator.wait_for_everyone()
