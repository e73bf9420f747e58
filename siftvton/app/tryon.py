"""Try a garment on a person, for one photo at a time.

::

    tryon = TryOn("checkpoints/toy", height=128, width=96)
    person = tryon.person("photo.jpg", pose="photo.json", parsing="photo.png", densepose="photo_densepose.png")
    garment = tryon.garment("garment.jpg")
    result = tryon(person, garment, seed=0)
    write_image("result.png", result.picture)  # siftvton.files.write_image
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from siftvton.correspondence import Correspondences
from siftvton.data.augment import ItemPictures
from siftvton.data.dataset import TryOnBatch, collate, item_of, resized, resized_mask
from siftvton.data.pairs import Pair
from siftvton.errors import InputError
from siftvton.evaluation.attention_maps import mean_maps
from siftvton.prepare.config import ModelsConfig, PhotoConfig
from siftvton.prepare.finder import Finder
from siftvton.prepare.framing import border_colour
from siftvton.prepare.garment import PreparedGarment, on_white, prepare_garment
from siftvton.prepare.given import GivenSides, read_garment_mask, read_given, read_photo
from siftvton.prepare.mask import agnostic_picture
from siftvton.prepare.models import Models
from siftvton.prepare.person import PreparedPerson, prepare_person
from siftvton.sampling.batch import generate
from siftvton.sampling.changes import load_changed
from siftvton.sampling.config import ExecutionConfig, SamplingConfig, WeightChanges
from siftvton.sampling.execution import dtype_of, place, use_scheduler
from siftvton.sampling.pipeline import TryOnPipeline

TIMESTEPS = (50, 150, 250, 350, 450)  # noise levels at which attention is shown, up to the paper's η = 500

Progress = Callable[[int, int], None]  # finished steps, all steps


@dataclass(frozen=True, eq=False)
class Person:
    """A prepared photo.

    Attributes:
        name: tells persons apart; the noise of a result depends on it.
        photo: (height, width, 3) uint8, the whole photo; transparent pixels are white.
        prepared: what the network gets, framed.
    """

    name: str
    photo: np.ndarray
    prepared: PreparedPerson

    def require_densepose(self) -> np.ndarray:
        """Return the framed DensePose rendering.

        Raises:
            InputError: it is not known.
        """
        if self.prepared.densepose is None:
            raise InputError(
                f"{self.name}: its DensePose is not known, and the network requires it; give a DensePose rendering, or "
                "a model that makes one (models.densepose)"
            )
        return self.prepared.densepose

    def with_mask(self, mask: np.ndarray) -> Person:
        """Return the person with another agnostic mask.

        Args:
            mask: (height, width) uint8 of the framed photo's size, 255 where try-on paints.
        """
        agnostic = agnostic_picture(self.prepared.photo, mask)
        return replace(self, prepared=replace(self.prepared, mask=mask, agnostic=agnostic))


@dataclass(frozen=True, eq=False)
class Garment:
    """A prepared garment picture; its name tells garments apart, and the noise of a result depends on it."""

    name: str
    prepared: PreparedGarment


class Preparation:
    """Prepares photos and garments for the network, by given files and by models.

    Attributes:
        finder: the models.
    """

    def __init__(
        self,
        photo: PhotoConfig | None = None,
        models: ModelsConfig | Models | None = None,
        device: torch.device | None = None,
    ) -> None:
        """
        Args:
            photo: how photos are framed; None: as VITON-HD's.
            models: the models that find what is not given; None: none, so all side files must be given.
            device: where the models of a ModelsConfig run; None: the CPU.
        """
        self._photo = photo or PhotoConfig()
        self._models = Models(models, device or torch.device("cpu")) if isinstance(models, ModelsConfig) else models
        self.finder = Finder(self._models)

    def person(
        self,
        photo: str | Path,
        *,
        pose: str | Path | None = None,
        parsing: str | Path | None = None,
        densepose: str | Path | None = None,
        mask: str | Path | None = None,
        person_mask: str | Path | None = None,
        category: str | None = None,
    ) -> Person:
        """Read and prepare a photo; what is not given is found by the models.

        Args:
            pose: joints, a JSON file of OpenPose.
            parsing: a picture of labels.
            densepose: a DensePose rendering, or a picture of its labels.
            mask: an agnostic mask, white where try-on paints.
            person_mask: a mask of the whole person, which limits a mask that is drawn without parsing.
            category: what is dressed, ``upper_body``, ``lower_body`` or ``dresses``; None: as in the configuration.

        Raises:
            InputError: a file cannot be read, or the photo cannot be prepared.
        """
        pixels = read_photo(photo)
        sides = {"pose": pose, "parsing": parsing, "densepose": densepose, "mask": mask, "person_mask": person_mask}
        paths = {name: Path(path) for name, path in sides.items() if path is not None}
        given = read_given(pixels, **paths, scheme=self._photo.parsing_labels)
        return self.person_of(pixels, given, Path(photo).stem, photo, category)

    def person_of(
        self,
        pixels: np.ndarray,
        given: GivenSides,
        name: str,
        source: str | Path | None = None,
        category: str | None = None,
    ) -> Person:
        """Prepare a photo that is in memory; what is not given is found by the models.

        Args:
            pixels: (height, width, 3) or, with opacity, (height, width, 4) uint8, red first.
            name: see :class:`Person`.
            source: where the photo comes from, for messages; None: the name.
            category: as for :meth:`person`.

        Raises:
            InputError: the photo cannot be prepared.
        """
        config = self._photo if category is None else replace(self._photo, category=category)
        with self._naming(source or name):
            prepared = prepare_person(pixels, given, self.finder, config)
        return Person(name, on_white(pixels), prepared)

    def garment(self, picture: str | Path, *, mask: str | Path | None = None) -> Garment:
        """Read and prepare the picture of a flat garment.

        Args:
            mask: a mask of the garment, white on it; None: it is found by the background.

        Raises:
            InputError: a file cannot be read, or shows no flat garment.
        """
        pixels = read_photo(picture)
        given = None if mask is None else read_garment_mask(mask, pixels)
        return self.garment_of(pixels, given, Path(picture).stem, picture)

    def garment_of(
        self, pixels: np.ndarray, mask: np.ndarray | None, name: str, source: str | Path | None = None
    ) -> Garment:
        """Prepare the picture of a flat garment that is in memory.

        Args:
            pixels, source: as for :meth:`person_of`.
            mask: (height, width) uint8, 255 on the garment; None: it is found by the opacity or the background.
            name: see :class:`Garment`.

        Raises:
            InputError: the picture shows no flat garment.
        """
        with self._naming(source or name):
            prepared = prepare_garment(pixels, mask, self.finder, self._photo.largest)
        return Garment(name, prepared)

    @contextmanager
    def _naming(self, source: str | Path) -> Iterator[None]:
        """Put the picture's source before the message of an error, and after it why models are missing."""
        try:
            yield
        except InputError as error:
            raise InputError("\n  ".join([f"{source}: {error}", *self.finder.missing.values()])) from error

    def record(self, folder: Path) -> None:
        """Record in a folder which models were used, if any."""
        if self._models is not None:
            self._models.record(folder)


class TryOn:
    """A try-on network, with the preparation of photos for it.

    Attributes:
        size: (height, width) at which the network runs, pixels.
        sampling: how results are sampled, unless a call says otherwise.
        person, garment: read and prepare a photo and a garment, see :class:`Preparation`.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        height: int = 512,
        width: int = 384,
        *,
        changes: WeightChanges | None = None,
        sampling: SamplingConfig | None = None,
        execution: ExecutionConfig | None = None,
        photo: PhotoConfig | None = None,
        models: ModelsConfig | None = None,
    ) -> None:
        """
        Args:
            checkpoint: a saved pipeline's folder, a published ``.ckpt`` or ``.safetensors`` file, or a Hugging Face
                repository.
            height, width: the size of the pictures with which the network was trained.
            changes: another autoencoder, and updates to add to the weights; None: the checkpoint as it is.
            sampling: how results are sampled, unless a call says otherwise; None: as in the paper.
            execution: where and how the network runs; None: in float32, on the GPU if there is one.
            photo, models: as in :class:`Preparation`.

        Raises:
            InputError: the checkpoint, the autoencoder or the updates cannot be read, or do not fit each other.
            UsageError: the size, the sampler or the device is not allowed.
        """
        execution = execution or ExecutionConfig()
        self.sampling = sampling or SamplingConfig()
        self.size = height, width
        self.pipeline: TryOnPipeline = load_changed(checkpoint, dtype_of(execution), changes or WeightChanges())
        self.pipeline.require_size(height, width)
        use_scheduler(self.pipeline, self.sampling.scheduler)
        self.pipeline.set_progress_bar_config(disable=True)
        place(self.pipeline, execution)
        preparation = Preparation(photo, models, self.pipeline.device)
        self.person, self.garment = preparation.person, preparation.garment

    def __call__(
        self,
        person: Person,
        garment: Garment,
        *,
        seed: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Dress the person in the garment.

        Args:
            seed: seed for the noise, which depends on seed, person and garment alone. steps: number of sampling steps.
                guidance: strength of classifier-free guidance. None: as in :attr:`sampling`.
            progress: is called after each step; it may raise, which ends the sampling.

        Raises:
            InputError: the person has no DensePose, or the result is NaN or infinite.
            UsageError: the sampler does not allow this number of steps.
        """
        asked: dict[str, Any] = {"seed": seed, "steps": steps, "guidance": guidance}
        used = replace(self.sampling, **{key: value for key, value in asked.items() if value is not None})
        generated = generate(
            self.pipeline,
            self._batch(person, garment),
            used.seed,
            used.steps,
            used.guidance,
            used.start,
            used.paste_back,
            progress=None if progress is None else _reporting(progress),
        )[0]
        paint = resized_mask(person.prepared.mask, self.size) if used.paste_back else np.full(self.size, 255, np.uint8)
        picture = person.prepared.framing.undo(generated, person.photo, paint)
        return Result(self, person, garment, picture, generated, used)

    def _batch(self, person: Person, garment: Garment, image: np.ndarray | None = None) -> TryOnBatch:
        """A batch of one item.

        Args:
            image: (height, width, 3) uint8 at the network's size, instead of the person's photo.
        """
        prepared = person.prepared
        pictures = ItemPictures(
            image=resized(prepared.photo, self.size) if image is None else image,
            agnostic=resized(prepared.agnostic, self.size),
            densepose=resized(person.require_densepose(), self.size),
            garment=resized(garment.prepared.picture, self.size),
            paint_mask=resized_mask(prepared.mask, self.size),
            worn_mask=None,
            matches=Correspondences.empty(self.size),
        )
        return collate([item_of(pictures, Pair(f"{person.name}.jpg", f"{garment.name}.jpg"))])

    def attention(self, result: Result, points: Correspondences) -> np.ndarray:
        """Where points of a result look on the garment, averaged over hooked layers, heads and timesteps ≤ 500.

        Args:
            points: query points; their frame is that of ``result.generated``.

        Returns:
            (points, height, width) at the network's size; each map sums to 1.
        """
        batch = self._batch(result.person, result.garment, result.generated)
        layers = self.pipeline.network().hooked_layers("all")
        return mean_maps(self.pipeline, batch, points, layers, TIMESTEPS, result.sampling.seed)


@dataclass(frozen=True, eq=False)
class Result:
    """A try-on.

    Attributes:
        picture: (height, width, 3) uint8 in the photo's own size and frame.
        generated: (h, w, 3) uint8 at the network's size, framed as the network sees the photo.
        sampling: how it was sampled.
    """

    tryon: TryOn
    person: Person
    garment: Garment
    picture: np.ndarray
    generated: np.ndarray
    sampling: SamplingConfig

    def framed(self) -> np.ndarray:
        """The part of ``picture`` that the network sees, in the size of the framed photo."""
        framing = self.person.prepared.framing
        return framing.apply(self.picture, border_colour(self.picture))

    def looked_at(self, x: float, y: float) -> np.ndarray:
        """Where a point of the result looks on the garment.

        Args:
            x, y: pixels of ``picture``.

        Returns:
            (height, width) of the prepared garment picture, float32; the map sums to 1.

        Raises:
            InputError: the point is outside the part of the photo that the network sees, or the attention is NaN.
        """
        framing = self.person.prepared.framing
        height, width = self.generated.shape[:2]
        scale = np.array([width / framing.size[1], height / framing.size[0]])
        place = (framing.points(np.array([[x, y]])) + 0.5) * scale - 0.5
        if not ((place >= -0.5).all() and (place < np.array([width, height]) - 0.5).all()):
            raise InputError(f"the point ({x:.0f}, {y:.0f}) is outside the part of the photo that the network sees")
        place = place.clip(0, [width - 1, height - 1])
        maps = self.tryon.attention(self, Correspondences(place, place, (height, width)))
        if not np.isfinite(maps).all():
            raise InputError("the attention is NaN or infinite; check the weights")
        shown = resized(maps[0].astype(np.float32), self.garment.prepared.picture.shape[:2])
        return shown / shown.sum()


def _reporting(progress: Progress) -> Callable[[Iterable], Iterable]:
    """Wrap an iterable of timesteps so that ``progress`` hears of each finished step."""

    def wrapped(timesteps: Iterable) -> Iterator:
        steps: Sequence = list(timesteps)
        for done, timestep in enumerate(steps, start=1):
            yield timestep
            progress(done, len(steps))

    return wrapped
