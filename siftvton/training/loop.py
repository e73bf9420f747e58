"""The training loop, on accelerate."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from accelerate.utils import gather_object
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from siftvton import hub
from siftvton.data.dataset import TryOnBatch, TryOnItem, collate
from siftvton.devices import errors_shared, on_main
from siftvton.errors import DivergedError, InputError
from siftvton.files import read_image
from siftvton.model.inputs import Noised, noised
from siftvton.pool import loader_workers
from siftvton.sampling.loading import save, upper_body_note
from siftvton.sampling.pipeline import TryOnPipeline
from siftvton.settings import save_configuration
from siftvton.training import best, checkpoints, identity, lora, records, sharding
from siftvton.training.arithmetic import updates_of
from siftvton.training.config import Train
from siftvton.training.contradictions import refuse_contradictions
from siftvton.training.encoded import EncodedDataset, LatentDraws
from siftvton.training.frozen import lay_out_autoencoder
from siftvton.training.guards import StopRequest, diverged, not_finite, stop_on_signals, writing
from siftvton.training.identity import Identity, RunData
from siftvton.training.launch import accelerator_of
from siftvton.training.learner import Learner
from siftvton.training.parts import empty_batch, model_parts, training_set
from siftvton.training.profiling import profiled, require_updates
from siftvton.training.resume import candidates_of
from siftvton.training.state import StreamSampler, learning_rate_factor
from siftvton.training.step import ATTENTION_LOSSES, step_losses
from siftvton.training.tracking import tracker_arguments
from siftvton.training.validation import Validation, pipeline_of
from siftvton.wording import counted

SHEET_OPTIONS: dict[str, dict] = {"tensorboard": {"dataformats": "NHWC"}, "wandb": {}}  # trackers that accept pictures


def train(config: Train) -> None:
    """Train as configured, continuing a stopped run; writes ``<output>/model`` at the end.

    Raises:
        UsageError: the configuration does not fit itself, the data or the run in ``output``.
        InputError: data or weights cannot be read, or an output cannot be written.
        DivergedError: a loss, a gradient or a weight is NaN or infinite.
    """
    run = _Run(config)
    run.identity = identity.claim(run.output, run.data)
    if run.candidates:
        checkpoints.restore(run.accelerator, run.candidates, run.progress, run.identity, run.learned)
    with stop_on_signals() as run.stop_request:
        run.validation.stop = run.stop_request
        run.begin()
        with run.bar, profiled(run.accelerator, config.train.profile_updates, run.output / "profile") as update_done:
            for batch in run.timed(run.batches()):
                run.micro_step(batch)
                if run.accelerator.sync_gradients:
                    run.finish_update()
                    update_done()
                    if run.stopped:
                        break
        run.end()


class _Run:
    """The parts and the state of a run; ``progress.update`` is the number of completed updates."""

    stop_request: StopRequest
    identity: Identity
    bar: tqdm
    last: tuple[TryOnBatch, Noised]  # the last micro-batch

    def __init__(self, config: Train) -> None:
        settings = config.train
        self.config, self.output = config, Path(config.output)
        refuse_contradictions(config)
        sharding.refuse_unsupported(settings)
        self.accelerator = accelerator = accelerator_of(
            settings.mixed_precision, settings.accumulation, settings.cpu, settings.tracker, config.output, divides=True
        )
        self.candidates = on_main(lambda: candidates_of(config))  # before anything is loaded
        self.images = settings.batch_size * settings.accumulation * accelerator.num_processes  # per update
        with errors_shared():
            self.dataset = training_set(config)
            self.validation = Validation(config, accelerator)
            self.updates = updates_of(config, len(self.dataset), self.images)
            require_updates(settings.profile_updates, self.updates)
            self.vae, self.inner, self.noise_schedule = model_parts(config)
            categories = map(self.dataset.split.category, (pair.person for pair in self.dataset.pairs))
            if config.model.pretrained and (note := upper_body_note(config.model.pretrained, categories)):
                accelerator.print(note)
            if config.supervision.atv_weight:
                self.inner.variation_layer()  # refuses a network without it
            fitting = pipeline_of(self.inner, self.vae, self.noise_schedule)
            fitting.require_size(config.data.height, config.data.width)
            fitting.require_steps(settings.validation_steps, "train.validation_steps")
        self.vae.requires_grad_(False).to(accelerator.device)
        lay_out_autoencoder(self.vae, accelerator.device, settings.mixed_precision)
        self.items: Dataset[TryOnItem] = self.dataset
        if config.data.cache_latents:
            steps, scale = self.noise_schedule.config.num_train_timesteps, self.vae.config.scaling_factor
            draws = LatentDraws(settings.seed, settings.dropout, steps, scale, settings.noise_offset)
            self.items = encoded = EncodedDataset(self.dataset, Path(config.data.cache_latents), draws)
            on_main(lambda: encoded.claim(self.vae, settings.mixed_precision))
            with errors_shared():
                encoded.encode(self.vae, accelerator, settings.batch_size, settings.workers)
        self.learner = Learner(config, accelerator, self.vae, self.inner)
        self.learned = self.learner.learned()
        self.progress = checkpoints.Progress(update=0, images=self.images)
        strides = self.inner.hooked_strides(config.supervision.layers)
        self.names = ["loss", "noise", *ATTENTION_LOSSES, *(f"sift_stride_{stride}" for stride in strides)]
        self.sums = torch.zeros(len(self.names), device=accelerator.device)  # Eq. 3 and its parts over an update
        self.norm = torch.zeros((), device=accelerator.device)  # of the update's gradient, before clipping
        self.seen: list[str] = []  # the pairs of the update
        self.failure: InputError | None = None  # of this process; the other processes do not know of it yet
        self.stopped = False
        self.waiting = 0.0  # share of the time since this start that was spent waiting for data

    def data(self) -> RunData:
        """The data that updates depend on."""
        held_out = self.config.data.open().split("validation").listed()
        return identity.data_of(self.dataset, held_out, self.vae, self.noise_schedule, self.learner.frozen_digest)

    def begin(self) -> None:
        """Start logs, trackers and the progress bar, and make up for a validation that a stop left out."""
        scored = on_main(self._begin_records)
        if self.config.train.tracker:
            project, arguments = tracker_arguments(self.config.train, self.config.output)
            self.accelerator.init_trackers(project, init_kwargs=arguments)
        self.bar = tqdm(
            total=self.updates * self.images,
            initial=self.progress.update * self.images,
            unit="image",
            disable=not self.accelerator.is_local_main_process,
        )
        if self.progress.update and self._validation_is_due() and not scored:
            self._validate()

    def _begin_records(self) -> bool:
        """Write the configuration and cut the logs; returns whether the present weights have been validated."""
        update, settings = self.progress.update, self.config.train
        with writing(self.output):
            save_configuration(self.config, self.output / "train.yaml")
        best.drop_later(self._folder("best"), update)
        records.cut(self.output / records.METRICS, update)
        validations = records.cut(self.output / records.VALIDATION, update)
        scores = best.comparable(validations, settings)
        if self.progress.best is not None and not validations:  # the log was lost
            scores.append(self.progress.best)
        self.progress.best = min(scores, default=None)
        if settings.push_to_hub:
            hub.claim(settings.push_to_hub)  # an upload that cannot work fails now, not after training
        return any(entry["update"] == update for entry in validations)

    def batches(self) -> Iterable[TryOnBatch]:
        """The micro-batches of this process from the present update to the end of the run."""
        start, stop = self.progress.update * self.images, self.updates * self.images
        return self.accelerator.prepare(
            DataLoader(
                self.items,
                batch_size=self.config.train.batch_size,
                sampler=StreamSampler(len(self.dataset), self.config.train.seed, start, stop),
                collate_fn=collate,
                **loader_workers(self.config.train.workers),
                pin_memory=self.accelerator.device.type == "cuda",
            )
        )

    def timed(self, batches: Iterable[TryOnBatch]) -> Iterator[TryOnBatch]:
        """The same batches; measures the share of time spent waiting for them, for the progress bar."""
        if self.stopped:  # during the validation in ``begin``
            return
        began, waited = time.perf_counter(), 0.0
        source = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = self._next(source)
            if batch is None:
                return
            now = time.perf_counter()
            waited += now - asked
            self.waiting = waited / (now - began)
            yield batch

    def _next(self, source: Iterator[TryOnBatch]) -> TryOnBatch | None:
        """The next batch; after an error in this process's data, an empty one.

        The other processes wait for the gradients of this process, so it must finish the update before it ends.
        """
        if self.failure is None:
            try:
                return next(source, None)
            except InputError as error:
                if self.accelerator.num_processes == 1:
                    raise
                self.failure = error
        return empty_batch(self.config, self.vae).to(self.accelerator.device)

    def micro_step(self, batch: TryOnBatch) -> None:
        """Run forward and backward pass on a micro-batch; update the weights after the last one of an update."""
        settings, accelerator = self.config.train, self.accelerator
        self.seen += [pair.result_id for pair in batch.pair]
        with accelerator.accumulate(self.learner.network):
            with accelerator.autocast():
                inputs = noised(
                    self.vae, self.noise_schedule, batch, settings.seed, settings.dropout, settings.noise_offset
                )
            self.last = batch, inputs
            with step_losses(
                self.learner.network,
                self.inner,
                self.noise_schedule,
                batch,
                inputs,
                self.config.supervision,
                settings.min_snr_gamma,
            ) as losses:
                accelerator.backward(losses.total.mean())
            parts = (losses.total, losses.noise, *losses.attention.values(), *losses.sift_at.values())
            self.sums += torch.stack([part.detach().mean() for part in parts])
            if accelerator.sync_gradients:
                # Without a limit, clip at infinity, which computes the norm and changes no gradient.
                norm = accelerator.clip_grad_norm_(self.learner.trained, settings.max_gradient_norm or math.inf)
                self.norm = sharding.whole(norm)
                for group in self.learner.optimizer.param_groups:
                    group["lr"] = self._learning_rate()
            self.learner.optimizer.step()
            self.learner.optimizer.zero_grad()

    def _learning_rate(self) -> float:
        """The learning rate of the next update."""
        settings = self.config.train
        decay_end = self.updates if settings.schedule == "cosine" else None
        factor = learning_rate_factor(self.progress.update, settings.warmup_updates, decay_end)
        return settings.learning_rate * factor

    def finish_update(self) -> None:
        """Share losses, failures and stops between processes; then log, save and validate if due."""
        settings, progress = self.config.train, self.progress
        rate = self._learning_rate()
        progress.update += 1
        flags = self.sums.new_tensor([self.stop_request.made, self.failure is not None])
        means = torch.cat([self.sums / settings.accumulation, flags, ~self.norm.isfinite().reshape(1)])
        *losses, stopped, failed, overflowed = self.accelerator.reduce(means, reduction="mean").tolist()
        self.sums.zero_()
        self.stopped = stopped > 0
        if failed:
            self._share_failure()
        values = dict(zip(self.names, losses, strict=True)) | {"gradient_norm": float(self.norm)}
        self._require_finite_values(values, overflowed > 0)
        if self.learner.average is not None:
            self.learner.average.step(self.learner.trained)
        self._log({**values, "learning_rate": rate})
        self.bar.set_postfix(
            update=progress.update,
            loss=f"{values['loss']:.4f}",
            sift=f"{values['sift']:.3f}",
            waiting_for_data=f"{self.waiting:.0%}",
        )
        self.bar.update(self.images)
        validate = self._validation_is_due()
        save = progress.update % settings.checkpoint_every == 0 or progress.update == self.updates or self.stopped
        if save or validate:
            self._share_failure()
            self._require_good_weights()
        if save:  # before the validation, which may take hours; if a stop prevents it, the next start makes up for it
            self._save_checkpoint()
        if validate and not self.stopped:
            self._validate()
            if self.stopped and not save:
                self._save_checkpoint()
        self.seen.clear()

    def _validation_is_due(self) -> bool:
        update = self.progress.update
        due = update == self.updates or (update % (self.config.train.validate_every or 1) == 0)
        return bool(self.validation.pairs) and due

    def _save_checkpoint(self) -> None:
        keep = self.config.train.keep_checkpoints
        with self.learner.frozen.in_full_precision():  # a run can continue on a machine that stores them in float32
            checkpoints.save(self.accelerator, self.output, self.progress, keep, self.identity.id, self.learned)

    def end(self) -> None:
        """Write and upload the model, or say that the run was stopped."""
        update, model = self.progress.update, self._folder("model")
        if self.stopped:
            self.accelerator.print(
                f"{self.output}: stopped after update {update}; run the same command again to continue"
            )
        else:
            assert update >= self.updates, f"the data ended after update {update} of {self.updates}"
            with self.learner.averaged():
                on_main(lambda: self._write_pipeline(model))
            use = f"; use it with checkpoint={self.config.model.pretrained} lora={model}" if self.learner.lora else ""
            self.accelerator.print(
                f"{model}: trained for {counted(update, 'update')} of {counted(self.images, 'image')} each{use}"
            )
            if repository := self.config.train.push_to_hub:
                on_main(lambda: hub.push(model, repository))
        self.accelerator.end_training()

    def _write_pipeline(self, folder: Path, notes: Mapping[str, object] | None = None) -> None:
        """Write the present network, and notes as JSON files, after a check that its weights are finite.

        Raises:
            DivergedError: a weight is NaN or infinite. InputError: ``folder`` cannot be written.
        """
        pipeline = self._pipeline()
        parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
        weights = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.named_parameters()}
        if bad := not_finite(weights):
            raise DivergedError(f"{folder}: was not written, because {bad[0]} is NaN or infinite")
        with writing(folder):
            if self.learner.lora:
                lora.save_updates(self.inner, self.config.train, folder, notes)
            else:
                with self.learner.frozen.in_full_precision():
                    settings = self.config.train
                    save(pipeline, folder, getattr(torch, settings.save_dtype), settings.save_variant, notes)

    def _folder(self, name: str) -> Path:
        """The folder of the model called ``name``; updates alone have a folder of another name."""
        return self.output / (f"{name}_lora" if self.learner.lora else name)

    def _share_failure(self) -> None:
        """End the run on every process if one has failed."""
        with errors_shared():
            if self.failure is not None:
                raise self.failure

    def _require_finite_values(self, values: dict[str, float], overflowed: bool) -> None:
        """End the run on every process if a loss is not finite, or the gradient of any process.

        Args:
            overflowed: whether a process has a gradient that is not finite.
        """
        losses = {name: value for name, value in values.items() if name != "gradient_norm"}
        if self.accelerator.mixed_precision == "fp16":  # its gradient scaler skips updates that overflow
            values, overflowed = losses, False
        if overflowed or not all(map(math.isfinite, losses.values())):
            raise self._diverged([f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)])

    def _require_good_weights(self) -> None:
        """End the run if a weight is not finite, or is so large that the prediction overflows."""
        found = [f"{name} is NaN or infinite" for name in not_finite(self.learned.tensors())]
        batch, inputs = self.last
        with torch.no_grad(), self.learner.eagerly():
            prediction = self.inner(
                inputs.sample, inputs.timestep, inputs.garment_latent, batch.garment_224, inputs.conditioned
            )
        if not bool(prediction.float().square().mean().isfinite()):
            found.append("the prediction with the new weights is NaN or infinite")
        if any(gather_object([bool(found)])):
            raise self._diverged(found)

    def _diverged(self, found: list[str]) -> DivergedError:
        """The error that ends the run, with the findings and pairs of all processes. Every process calls this."""
        found, images = gather_object(found), gather_object(self.seen)
        good = checkpoints.saved(self.output)[-1:]
        remedy = "lower train.learning_rate, or set train.max_gradient_norm"
        return diverged(self.progress.update, list(dict.fromkeys(found)), images, good, remedy)

    def _pipeline(self) -> TryOnPipeline:
        return pipeline_of(self.learner.undivided, self.vae, self.noise_schedule)

    def _log(self, values: dict[str, float]) -> None:
        self.accelerator.log(values, step=self.progress.update)
        try:
            if self.accelerator.is_main_process:
                records.append(self.output / records.METRICS, self.progress.update, values)
        except InputError as error:
            if self.accelerator.num_processes == 1:
                raise
            self.failure = error

    def _validate(self) -> None:
        """Score the present weights; a stop request ends the validation without scores."""
        update, accelerator = self.progress.update, self.accelerator
        sheet = self.output / "validation" / f"update-{update:07d}.png"
        with self.learner.averaged(), self.learner.frozen.with_autoencoder(), self.learner.eagerly():
            scores = self.validation.run(self._pipeline(), sheet)
            if scores is None:
                self.stopped = True
                return
            on_main(lambda: self._keep_best(scores))
        record = scores | best.conditions(self.config.train)
        on_main(lambda: records.append(self.output / records.VALIDATION, update, record))
        accelerator.log({f"validation/{name}": value for name, value in scores.items()}, step=update)
        for tracker in accelerator.trackers if accelerator.is_main_process else ():
            if tracker.name in SHEET_OPTIONS:
                tracker.log_images({"validation": read_image(sheet)[None]}, update, **SHEET_OPTIONS[tracker.name])
        accelerator.wait_for_everyone()

    def _keep_best(self, scores: dict[str, float]) -> None:
        """Write ``<output>/best`` if the unpaired score is the lowest so far."""
        unpaired = scores.get("unpaired", math.inf)
        if unpaired < (math.inf if self.progress.best is None else self.progress.best):
            self._write_pipeline(self._folder("best"), best.note(self.progress.update))
            self.progress.best = unpaired
