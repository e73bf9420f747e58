"""The training loop, on accelerate."""

import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import gather_object
from diffusers import AutoencoderKL, PNDMScheduler
from diffusers.training_utils import EMAModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from siftvton import cli
from siftvton.config import Train
from siftvton.data.dataset import TryOnBatch, TryOnDataset, collate
from siftvton.data.layout import MATCHES, SplitFolder, in_setting, split_pairs
from siftvton.devices import cpu_only
from siftvton.draws import seed_of
from siftvton.errors import UsageError
from siftvton.files import read_image, write_text
from siftvton.model import build, hub
from siftvton.model.loading import load, load_part, save
from siftvton.model.network import TryOnNetwork
from siftvton.pipeline import TryOnPipeline
from siftvton.training import checkpoints
from siftvton.training.arithmetic import updates_of
from siftvton.training.guards import StopRequest, check_finite, stop_on_sigterm
from siftvton.training.state import StreamSampler, learning_rate_factor, select_trainable
from siftvton.training.step import noised, step_losses
from siftvton.training.validation import Validation, pipeline_of

# What may change between the starts of one run: none of it changes a draw, or what an update computes from it. A
# run's length may change, too, unless the learning rate follows it.
LENGTH_KEYS = ("train.epochs", "train.updates")
SHEET_OPTIONS: dict[str, dict] = {"tensorboard": {"dataformats": "NHWC"}, "wandb": {}}  # trackers that take pictures
METRICS, VALIDATION = "metrics.jsonl", "validation.jsonl"
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
    "train.inception",
    "train.alexnet",
    "train.tracker",
    "train.push_to_hub",
    "train.cpu",
)


def train(config: Train) -> None:
    """Train as configured; go on where an earlier start stopped. Writes ``<output>/model`` when done.

    Raises:
        UsageError: the configuration does not fit itself, the data, or the run in ``output``.
        InputError: data or weights cannot be read.
    """
    candidates = checkpoints.find(Path(config.output), config.resume)
    _check_same_configuration(config)
    run = _Run(config)
    if candidates:
        checkpoints.restore(run.accelerator, run.output, candidates, run.progress, run.average)
    with stop_on_sigterm() as run.stop_request:
        run.begin()
        with run.bar:
            for batch in run.timed(run.batches()):
                run.micro_step(batch)
                if run.accelerator.sync_gradients:
                    run.finish_update()
                    if run.stopped:
                        break
        run.end()


class _Run:
    """A run's parts; ``progress.update`` counts what is done."""

    stop_request: StopRequest
    bar: tqdm

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
        self.dataset = training_set(config)
        self.validation = Validation(config, self.accelerator)
        self.images = settings.batch_size * settings.accumulation * self.accelerator.num_processes  # an update
        self.updates = updates_of(config, len(self.dataset), self.images)
        self.vae, self.inner, self.noise_schedule = _parts(config)
        self._pipeline().require_size(config.data.height, config.data.width)
        self._pipeline().require_steps(settings.validation_steps, "train.validation_steps")
        if settings.gradient_checkpointing:
            self.inner.unet.enable_gradient_checkpointing()
            self.inner.garment_encoder.enable_gradient_checkpointing()
        self.vae.requires_grad_(False).to(self.accelerator.device)
        self.trained = select_trainable(self.inner, settings.trainable)
        optimizer = torch.optim.AdamW(self.trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self.network, self.optimizer = self.accelerator.prepare(self.inner, optimizer)
        self.average = None if settings.ema_decay is None else EMAModel(self.trained, decay=settings.ema_decay)
        self.progress = checkpoints.Progress(update=0, images=self.images)
        strides = self.inner.unet.hooked_strides(config.supervision.layers)
        self.names = ["loss", "noise", "sift", "atv", *(f"sift_stride_{stride}" for stride in strides)]
        self.sums = torch.zeros(len(self.names), device=self.accelerator.device)  # Eq. 3 and its parts over an update
        self.norm = torch.zeros((), device=self.accelerator.device)  # of the update's gradient, before it is clipped
        self.seen: list[str] = []  # the update's pairs
        self.stopped = False
        self.waiting = 0.0  # for data, of this start's time

    def begin(self) -> None:
        if self.accelerator.is_main_process:
            cli.save(self.config, self.output / "train.yaml")
            for name in (METRICS, VALIDATION):
                _cut_metrics(self.output / name, self.progress.update)
            if self.config.train.push_to_hub:
                hub.claim(self.config.train.push_to_hub)  # what would fail in the end fails now
        if self.config.train.tracker:
            self.accelerator.init_trackers("siftvton", init_kwargs={"wandb": {"dir": self.config.output}})
        self.bar = tqdm(
            total=self.updates * self.images,
            initial=self.progress.update * self.images,
            unit="image",
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

    def timed(self, batches: Iterable[TryOnBatch]) -> Iterator[TryOnBatch]:
        """The same batches; the share of the time that is spent waiting for them stands in the bar."""
        began, waited = time.perf_counter(), 0.0
        source = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                return
            now = time.perf_counter()
            waited += now - asked
            self.waiting = waited / (now - began)
            yield batch

    def micro_step(self, batch: TryOnBatch) -> None:
        settings, accelerator = self.config.train, self.accelerator
        self.seen += [pair.result_id for pair in batch.pair]
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
            parts = (losses.total, losses.noise, losses.sift, losses.atv, *losses.sift_at.values())
            self.sums += torch.stack([part.detach().mean() for part in parts])
            if accelerator.sync_gradients:
                # No limit is an infinite one, which leaves every gradient as it is.
                self.norm = accelerator.clip_grad_norm_(self.trained, settings.max_gradient_norm or math.inf)
                for group in self.optimizer.param_groups:
                    group["lr"] = self._learning_rate()
            self.optimizer.step()
            self.optimizer.zero_grad()

    def _learning_rate(self) -> float:
        """The next update's."""
        settings = self.config.train
        decay_end = self.updates if settings.schedule == "cosine" else None
        factor = learning_rate_factor(self.progress.update, settings.warmup_updates, decay_end)
        return settings.learning_rate * factor

    def finish_update(self) -> None:
        settings, progress = self.config.train, self.progress
        rate = self._learning_rate()
        progress.update += 1
        asked = self.sums.new_tensor([self.stop_request.made * settings.accumulation])
        means = torch.cat([self.sums, asked]) / settings.accumulation
        *losses, stopped = self.accelerator.reduce(means, reduction="mean").tolist()
        self.sums.zero_()
        values = dict(zip(self.names, losses, strict=True))
        self._check_finite(values)
        if self.average is not None:
            self.average.step(self.trained)
        self._log({**values, "gradient_norm": float(self.norm), "learning_rate": rate})
        self.bar.set_postfix(
            update=progress.update,
            loss=f"{values['loss']:.4f}",
            sift=f"{values['sift']:.3f}",
            waiting_for_data=f"{self.waiting:.0%}",
        )
        self.bar.update(self.images)
        self.stopped = stopped > 0
        last = progress.update == self.updates
        if self.validation.pairs and (progress.update % settings.validate_every == 0 or last):
            self._validate()
        if progress.update % settings.checkpoint_every == 0 or last or self.stopped:
            checkpoints.save(self.accelerator, self.output, progress, settings.keep_checkpoints, self.average)

    def end(self) -> None:
        update = self.progress.update
        if update < self.updates:
            self.accelerator.print(f"{self.output}: stopped after update {update}; the same command goes on from it")
        elif self.accelerator.is_main_process:
            with self._averaged():
                save(self._pipeline(), self.output / "model")
            print(f"{self.output / 'model'}: trained for {update} updates of {self.images} images")
            if self.config.train.push_to_hub:
                hub.push(self.output / "model", self.config.train.push_to_hub)
        self.accelerator.end_training()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The averaged weights in place of the trained ones, where there is an average."""
        if self.average is None:
            yield
            return
        self.average.store(self.trained)
        self.average.copy_to(self.trained)
        yield
        self.average.restore(self.trained)

    def _check_finite(self, losses: dict[str, float]) -> None:
        values = dict(losses)
        if self.accelerator.mixed_precision != "fp16":  # whose scaler skips an update that overflows
            values["gradient_norm"] = float(self.norm)
        if not all(map(math.isfinite, values.values())):
            last = checkpoints.saved(self.output)
            images = gather_object(self.seen)
            check_finite(values, self.progress.update, images, str(last[-1]) if last else None)
        self.seen.clear()

    def _pipeline(self) -> TryOnPipeline:
        return pipeline_of(self.inner, self.vae, self.noise_schedule)

    def _log(self, values: dict[str, float]) -> None:
        self.accelerator.log(values, step=self.progress.update)
        self._append(METRICS, values)

    def _append(self, name: str, values: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            with (self.output / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"update": self.progress.update, **values}) + "\n")

    def _validate(self) -> None:
        update, accelerator = self.progress.update, self.accelerator
        sheet = self.output / "validation" / f"update-{update:07d}.png"
        with self._averaged():
            scores = self.validation.run(self._pipeline(), sheet)
            if accelerator.is_main_process:
                self._keep_best(scores)
        self._append(VALIDATION, scores)
        accelerator.log({f"validation/{name}": value for name, value in scores.items()}, step=update)
        for tracker in accelerator.trackers if accelerator.is_main_process else ():
            if tracker.name in SHEET_OPTIONS:
                tracker.log_images({"validation": read_image(sheet)[None]}, update, **SHEET_OPTIONS[tracker.name])
        accelerator.wait_for_everyone()

    def _keep_best(self, scores: dict[str, float]) -> None:
        unpaired = scores.get("unpaired", math.inf)
        if unpaired < (math.inf if self.progress.best is None else self.progress.best):
            self.progress.best = unpaired
            save(self._pipeline(), self.output / "best")


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


def _check_same_configuration(config: Train) -> None:
    output = Path(config.output)
    saved = output / "train.yaml"
    changed = cli.differences(config, saved) if saved.is_file() and checkpoints.saved(output) else []
    fixed = LENGTH_KEYS if config.train.schedule == "cosine" else ()
    changed = [line for line in changed if (key := line.partition(":")[0]) in fixed or key not in FREE_KEYS]
    if changed:
        raise UsageError(f"{output} holds a run of another configuration ({'; '.join(changed)}); name another output")


def _cut_metrics(path: Path, update: int) -> None:
    """Drop what was logged after the checkpoint that the run goes on from."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        # A stop can have cut the last line short; it is then beyond the checkpoint as well.
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["update"] <= update]
        write_text(path, "".join(f"{line}\n" for line in kept))
