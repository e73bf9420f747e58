"""The training loop, on accelerate."""

import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from diffusers import AutoencoderKL, PNDMScheduler
from torch.utils.data import DataLoader
from tqdm import tqdm

from siftvton import cli
from siftvton.config import Train
from siftvton.data.dataset import TryOnBatch, TryOnDataset, collate
from siftvton.data.layout import MATCHES, SplitFolder, in_setting, split_pairs
from siftvton.devices import cpu_only
from siftvton.draws import seed_of
from siftvton.errors import UsageError
from siftvton.files import write_text
from siftvton.model import build
from siftvton.model.loading import load, load_part, save
from siftvton.model.network import TryOnNetwork
from siftvton.pipeline import TryOnPipeline
from siftvton.training import checkpoints
from siftvton.training.state import StreamSampler, learning_rate_factor, select_trainable
from siftvton.training.step import noised, step_losses
from siftvton.training.validation import pipeline_of, validation_set, write_validation_sheet

# What may change between the starts of one run: none of it changes a draw, or what an update computes from it. A
# run's length may change, too, unless the learning rate follows it.
LENGTH_KEYS = ("train.epochs", "train.updates")
FREE_KEYS = (
    "output",
    "resume",
    "data.root",
    "data.matches",
    *LENGTH_KEYS,
    "train.batch_size",  # its product with accumulation and processes is kept with the progress
    "train.accumulation",
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
    checkpoint = checkpoints.find(Path(config.output), config.resume)
    _check_same_configuration(config)
    run = _Run(config)
    if checkpoint is not None:
        checkpoints.restore(run.accelerator, run.output, checkpoint)
    run.begin()
    with run.bar:
        for batch in run.batches():
            run.micro_step(batch)
            if run.accelerator.sync_gradients:
                run.finish_update()
    run.end()


class _Run:
    """A run's parts; ``progress.update`` counts what is done."""

    def __init__(self, config: Train) -> None:
        settings = config.train
        self.config, self.output = config, Path(config.output)
        try:
            self.accelerator = Accelerator(
                mixed_precision=settings.mixed_precision,
                gradient_accumulation_steps=settings.accumulation,
                log_with=settings.tracker,
                project_dir=config.output,
                cpu=settings.cpu or cpu_only(),
                dataloader_config=DataLoaderConfiguration(even_batches=False),
            )
        except ValueError as error:  # a tracker or a precision that is not to be had on this machine
            raise UsageError(
                f"train.tracker={settings.tracker} train.mixed_precision={settings.mixed_precision}: {error}"
            ) from error
        self.dataset, self.validation = training_set(config), validation_set(config)
        self.images = settings.batch_size * settings.accumulation * self.accelerator.num_processes  # an update
        self.updates = _updates(config, len(self.dataset), self.images)
        self.vae, self.inner, self.noise_schedule = _parts(config)
        _check_size(config, self._pipeline().stride)
        if settings.gradient_checkpointing:
            self.inner.unet.enable_gradient_checkpointing()
            self.inner.garment_encoder.enable_gradient_checkpointing()
        self.vae.requires_grad_(False).to(self.accelerator.device)
        optimizer = torch.optim.AdamW(
            select_trainable(self.inner, settings.trainable),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        decay_end = self.updates if settings.schedule == "cosine" else None
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda update: learning_rate_factor(update, settings.warmup_updates, decay_end)
        )
        self.network, self.optimizer = self.accelerator.prepare(self.inner, optimizer)
        self.progress = checkpoints.Progress(self.images)
        self.accelerator.register_for_checkpointing(self.schedule, self.progress)
        self.sums = torch.zeros(4, device=self.accelerator.device)  # Eq. 3 and its parts over an update

    def begin(self) -> None:
        if self.accelerator.is_main_process:
            cli.save(self.config, self.output / "train.yaml")
            _cut_metrics(self.output / "metrics.jsonl", self.progress.update)
        if self.config.train.tracker:
            self.accelerator.init_trackers("siftvton")
        self.bar = tqdm(
            total=self.updates,
            initial=self.progress.update,
            unit="update",
            disable=not self.accelerator.is_local_main_process,
        )

    def batches(self) -> Iterable[TryOnBatch]:
        """This process's micro-batches from here to the end of the run."""
        start, stop = self.progress.update * self.images, self.updates * self.images
        return self.accelerator.prepare(
            DataLoader(
                self.dataset,
                batch_size=self.config.train.batch_size,
                sampler=StreamSampler(len(self.dataset), self.config.train.seed, start, stop),
                num_workers=self.config.train.workers,
                collate_fn=collate,
                pin_memory=self.accelerator.device.type == "cuda",
            )
        )

    def micro_step(self, batch: TryOnBatch) -> None:
        settings, accelerator = self.config.train, self.accelerator
        with accelerator.accumulate(self.network):
            with accelerator.autocast():
                inputs = noised(self.vae, self.noise_schedule, batch, settings.seed, settings.dropout)
            with step_losses(
                self.network,
                self.inner,
                self.noise_schedule,
                batch,
                inputs,
                self.config.supervision,
                settings.min_snr_gamma,
            ) as losses:
                accelerator.backward(losses.total.mean())
            self.sums += torch.stack([part.detach().mean() for part in vars(losses).values()])
            if accelerator.sync_gradients and settings.max_gradient_norm is not None:
                accelerator.clip_grad_norm_(self.network.parameters(), settings.max_gradient_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()

    def finish_update(self) -> None:
        settings, progress = self.config.train, self.progress
        rate = float(self.schedule.get_last_lr()[0])
        self.schedule.step()
        progress.update += 1
        means = self.accelerator.reduce(self.sums / settings.accumulation, reduction="mean").tolist()
        self.sums.zero_()
        self._log({**dict(zip(("loss", "noise", "sift", "atv"), means, strict=True)), "learning_rate": rate})
        self.bar.set_postfix(loss=f"{means[0]:.4f}", sift=f"{means[2]:.3f}", images=progress.update * self.images)
        self.bar.update()
        last = progress.update == self.updates
        if self.validation is not None and (progress.update % settings.validate_every == 0 or last):
            self._validate(self.validation)
        if progress.update % settings.checkpoint_every == 0 or last:
            checkpoints.save(self.accelerator, self.output, progress, settings.keep_checkpoints)

    def end(self) -> None:
        if self.accelerator.is_main_process:
            save(self._pipeline(), self.output / "model")
            print(f"{self.output / 'model'}: trained for {self.progress.update} updates of {self.images} images")
        self.accelerator.end_training()

    def _pipeline(self) -> TryOnPipeline:
        return pipeline_of(self.inner, self.vae, self.noise_schedule)

    def _log(self, values: dict[str, float]) -> None:
        self.accelerator.log(values, step=self.progress.update)
        if self.accelerator.is_main_process:
            with (self.output / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"update": self.progress.update, **values}) + "\n")

    def _validate(self, dataset: TryOnDataset) -> None:
        if self.accelerator.is_main_process:
            path = self.output / "validation" / f"update-{self.progress.update:07d}.png"
            with self.accelerator.autocast():
                sheet = write_validation_sheet(self.config, self._pipeline(), dataset, path)
            for tracker in self.accelerator.trackers:
                if tracker.name == "tensorboard":
                    tracker.writer.add_image("validation", sheet, self.progress.update, dataformats="HWC")
        self.accelerator.wait_for_everyone()


def training_set(config: Train) -> TryOnDataset:
    """The training pairs with their matches, after a look that every file is there."""
    data = config.data
    pairs = split_pairs(data.root, "train", data.validation_pairs, data.split_seed)
    folder = SplitFolder(data.root, "train")
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


def _parts(config: Train) -> tuple[AutoencoderKL, TryOnNetwork, PNDMScheduler]:
    if config.model.pretrained:
        pipeline = load(config.model.pretrained)
        parts = {name: getattr(pipeline, name) for name in pipeline.components if name not in ("vae", "scheduler")}
        return pipeline.vae, TryOnNetwork(**parts), pipeline.scheduler
    if not config.model.autoencoder:
        raise UsageError(
            "model.autoencoder=null: training from scratch needs a trained autoencoder's folder "
            "(scripts/train_autoencoder.py makes one); or name weights to start from by model.pretrained"
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(config.train.seed, "weights"))
        network = TryOnNetwork(**build.network_parts(config.model))
    vae = load_part(Path(config.model.autoencoder), AutoencoderKL)
    return vae, network, build.scheduler(config.model.prediction_type)


def _check_size(config: Train, stride: int) -> None:
    height, width = config.data.height, config.data.width
    if height % stride or width % stride:
        raise UsageError(f"data.height={height} data.width={width}: multiples of {stride} are allowed")


def _check_same_configuration(config: Train) -> None:
    output = Path(config.output)
    saved = output / "train.yaml"
    changed = cli.differences(config, saved) if saved.is_file() and checkpoints.saved(output) else []
    fixed = LENGTH_KEYS if config.train.schedule == "cosine" else ()
    changed = [line for line in changed if (key := line.partition(":")[0]) in fixed or key not in FREE_KEYS]
    if changed:
        raise UsageError(f"{output} holds a run of another configuration ({'; '.join(changed)}); name another output")


def _updates(config: Train, pairs: int, batch_size: int) -> int:
    if config.train.updates is not None:
        return config.train.updates
    if config.train.epochs is None:
        raise UsageError("train.epochs=null train.updates=null: one of them is wanted")
    return math.ceil(config.train.epochs * pairs / batch_size)


def _cut_metrics(path: Path, update: int) -> None:
    """Drop what was logged after the checkpoint that the run goes on from."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        # A stop can have cut the last line short; it is then beyond the checkpoint as well.
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["update"] <= update]
        write_text(path, "".join(f"{line}\n" for line in kept))
