"""What the page does when something on it is pressed. The functions' values are those of Gradio's components.

Events come without Gradio's preprocessing. It would decode an upload with any of Pillow's plugins, before format and
size are checked.
"""

import html
import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ParamSpec, TypeVar

import cv2
import gradio as gr
import numpy as np

from siftvton.app.gallery import Example, Gallery
from siftvton.app.mask_editor import Canvas
from siftvton.app.tryon import Garment, Person, Result, TryOn
from siftvton.app.uploads import Upload, UploadLimits, named
from siftvton.data.layouts import CATEGORIES
from siftvton.data.layouts.polarity import is_white
from siftvton.drawing import mark_point, with_attention
from siftvton.errors import InputError, UsageError, first_line
from siftvton.files import read_bytes, write_image, write_json
from siftvton.options import allowed_values, keys
from siftvton.prepare.given import read_photo
from siftvton.sampling.config import SamplingConfig
from siftvton.sampling.loading import upper_body_note

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_SHOWN = 1280  # pixels


def in_one_sentence(action: Callable[P, R]) -> Callable[P, R]:
    """Show an error of ``action`` on the page as one sentence; the traceback of an unexpected one is printed."""

    @wraps(action)
    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return action(*args, **kwargs)
        except InputError as error:
            raise _said(" ".join(str(error).split())) from error
        except Exception as error:
            traceback.print_exc()
            said = f"unexpected {type(error).__name__}: {first_line(error)}; the terminal shows where"
            raise _said(said) from error

    return shown


def _said(sentence: str) -> gr.Error:
    """Return the error that Gradio shows until it is closed. Gradio would take the sentence for HTML."""
    return gr.Error(html.escape(sentence, quote=False), duration=None, print_exception=False)


class Actions:
    """The actions of one page. What a visitor has chosen is in the visitor's session, not here."""

    def __init__(
        self, tryon: TryOn, gallery: Gallery, limits: UploadLimits, weights: dict[str, Any], files: Path,
        kept: Path | None, category: str = CATEGORIES[0],
    ) -> None:  # fmt: skip
        """
        Args:
            weights: what the downloaded settings say about the weights.
            files: Gradio's folder, for uploads and for the files that the browser downloads.
            kept: folder in which results are kept; None: they are not.
            category: what is changed at first.
        """
        self.tryon, self.gallery, self.limits, self.weights = tryon, gallery, limits, weights
        self.files, self.kept, self.category = files, kept, category
        self.canvas = Canvas.of(*tryon.size)

    @in_one_sentence
    def choose_person(
        self, index: int, category: str = CATEGORIES[0]
    ) -> tuple[np.ndarray, Person, dict[str, Any], str]:
        """Take a person from the gallery; return photo, person, the mask editor's content and remarks."""
        example = _example(self.gallery.persons, index)
        sides = example.sides_for(_category(category))
        person = self.tryon.person(example.picture, **sides, category=category)
        return for_screen(person.photo), *self._shown(person, category)

    @in_one_sentence
    def check_photo(self, photo: dict[str, Any] | None) -> None:
        """Check format and size of an uploaded photo."""
        upload = Upload.of(photo, self.files)
        if upload is not None:
            with named(upload):
                upload.require_accepted(self.limits)

    @in_one_sentence
    def upload_person(
        self,
        photo: dict[str, Any] | None,
        pose: dict[str, Any] | None,
        parsing: dict[str, Any] | None,
        densepose: dict[str, Any] | None,
        category: str = CATEGORIES[0],
    ) -> tuple[Person | None, dict[str, Any] | None, str]:
        """Prepare an uploaded photo with the uploaded side files, for a category.

        Returns:
            The person, the mask editor's content and remarks.
        """
        upload = Upload.of(photo, self.files)
        if upload is None:
            return None, None, ""
        sides = {"pose": pose, "parsing": parsing, "densepose": densepose}
        given = {name: side for name, each in sides.items() if (side := Upload.of(each, self.files))}
        with named(upload, *given.values()):
            for name, each in {"photo": upload, **given}.items():
                if name != "pose":  # the only file that is no picture
                    each.require_accepted(self.limits)
            paths = {name: each.path for name, each in given.items()}
            person = self.tryon.person(upload.path, **paths, category=_category(category))
        return self._shown(person, category)

    @in_one_sentence
    def change_category(
        self,
        index: int | None,
        photo: dict[str, Any] | None,
        pose: dict[str, Any] | None,
        parsing: dict[str, Any] | None,
        densepose: dict[str, Any] | None,
        category: str,
    ) -> tuple[Person | None, dict[str, Any] | None, str]:
        """Prepare the chosen person again for another category; returns as :meth:`upload_person`.

        Args:
            index: the person's place in the gallery; None: an uploaded photo.
        """
        if index is None:
            return self.upload_person(photo, pose, parsing, densepose, category)
        return self.choose_person(index, category)[1:]

    def _shown(self, person: Person, category: str) -> tuple[Person, dict[str, Any], str]:
        prepared = person.prepared
        note = upper_body_note(self.weights["checkpoint"], [category])
        remarks = [*([note] if note else []), *prepared.remarks]
        content = self.canvas.value(prepared.photo, prepared.mask)
        return person, content, "\n".join(f"- {remark}" for remark in remarks)

    @in_one_sentence
    def choose_garment(self, index: int) -> tuple[np.ndarray, Garment]:
        """Take a garment from the gallery; return its picture and the garment."""
        example = _example(self.gallery.garments, index)
        return for_screen(read_photo(example.picture)), self.tryon.garment(example.picture, **example.sides)

    @in_one_sentence
    def upload_garment(self, picture: dict[str, Any] | None) -> Garment | None:
        """Prepare an uploaded picture of a garment."""
        upload = Upload.of(picture, self.files)
        if upload is None:
            return None
        with named(upload):
            upload.require_accepted(self.limits)
            return self.tryon.garment(upload.path)

    @in_one_sentence
    def run(
        self, person: Person | None, garment: Garment | None, painted: dict[str, Any] | None, seed: float | None,
        steps: float | None, guidance: float | None, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[np.ndarray, np.ndarray, Result, Any, Any]:  # fmt: skip
        """Dress the person; return photo, result picture, result, and the two download buttons.

        Args:
            painted: the mask editor's content; None: the mask stays as it was prepared.
            progress: Gradio finds this argument by its default.
        """
        if person is None or garment is None:
            missing = "person" if person is None else "garment"
            raise UsageError(f"no {missing} is chosen; take one from the gallery, or upload a picture")
        used_seed, used_steps = int(_number("seed", seed)), int(_number("steps", steps))
        used_guidance = float(_number("guidance", guidance))
        mask = person.prepared.mask
        if painted:
            layers = [Upload.of(layer, self.files) for layer in painted["layers"]]
            mask = self.canvas.edited(mask, [read_bytes(layer.path) for layer in layers if layer])
        if not is_white(mask).any():
            raise UsageError("the mask is empty, so there is nothing to paint; paint over the garment with the brush")
        edited = mask is not person.prepared.mask
        started = time.monotonic()

        def report(predictions: int, all_predictions: int) -> None:
            share = predictions / all_predictions  # some samplers predict more than once in a step
            left = (time.monotonic() - started) * (1 - share) / share
            step = math.ceil(share * used_steps)
            progress(share, desc=f"Step {step} of {used_steps}, about {left:.0f} s left")

        result = self.tryon(
            person.with_mask(mask) if edited else person,
            garment,
            seed=used_seed,
            steps=used_steps,
            guidance=used_guidance,
            progress=report,
        )
        record = {
            "person": person.name,
            "garment": garment.name,
            "mask_edited": edited,
            **asdict(result.sampling),
            "height": self.tryon.size[0],
            "width": self.tryon.size[1],
            **self.weights,
            "siftvton": version("siftvton"),
            "seconds": round(time.monotonic() - started, 2),
        }
        picture, settings = (
            gr.DownloadButton(value=str(path), interactive=True) for path in self._written(result, record)
        )
        return for_screen(person.photo), for_screen(result.picture), result, picture, settings

    def _written(self, result: Result, record: dict[str, Any]) -> tuple[Path, Path]:
        """Write a result and its settings for the download, and for keeping if that is wanted; return both paths."""
        name = f"{result.person.name}_{result.garment.name}_seed{result.sampling.seed}"
        folders = [Path(mkdtemp(dir=self.files))]
        if self.kept is not None:
            folders.append(self.kept / f"{datetime.now():%Y-%m-%d_%H-%M-%S.%f}")
        for folder in folders:
            write_image(folder / f"{name}.png", result.picture)
            write_json(folder / f"{name}.json", record)
        return folders[0] / f"{name}.png", folders[0] / f"{name}.json"

    @in_one_sentence
    def look(self, result: Result | None, x: float | None, y: float | None) -> tuple[np.ndarray, np.ndarray]:
        """Show where the network looked; return the result with the point marked, and the coloured garment.

        Args:
            x, y: the point, in pixels of the result as the page shows it.
        """
        if result is None:
            raise UsageError("there is no result yet; make one, then click on it")
        shown = for_screen(result.picture)
        height, width = shown.shape[:2]
        if x is None or y is None or not (0 <= x < width and 0 <= y < height):
            raise UsageError(f"the point ({x}, {y}) is not on the result; click on the picture")
        scale = result.picture.shape[0] / height
        looked = result.looked_at((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5)
        return mark_point(shown, int(x), int(y)), with_attention(result.garment.prepared.picture, looked)


def for_screen(picture: np.ndarray) -> np.ndarray:
    """Return a picture (height, width, channels) as the page shows it; a large one, slow to send, is made smaller."""
    scale = LONGEST_SHOWN / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _example(examples: Sequence[Example], index: int) -> Example:
    if not isinstance(index, int) or not 0 <= index < len(examples):
        raise UsageError(f"the gallery has no picture {index}; use 0 to {len(examples) - 1}")
    return examples[index]


def _category(category: str) -> str:
    if category not in CATEGORIES:
        raise UsageError(f"category={category} is not allowed; use one of {', '.join(CATEGORIES)}")
    return category


def _number(key: str, value: float | None) -> float:
    """Return the value of a key of :class:`SamplingConfig`, if that allows it."""
    entry = keys(SamplingConfig)[key]
    least, most = entry.metadata["minimum"], entry.metadata["maximum"]
    if not isinstance(value, (int, float)) or not least <= value <= most:
        raise UsageError(f"{key}={value} is not allowed; use a number from {allowed_values(entry)}")
    return value
