"""The nodes. Each one calls the library as the command ``tryon`` does, with ComfyUI's pictures in place of files.

The library's networks are imported when a node first runs, since they take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
import torch
from comfy.model_management import get_torch_device, throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from torch import Tensor

from siftvton.data.layouts.polarity import is_white
from siftvton.devices import device_of
from siftvton.drawing import mark_point, with_attention
from siftvton.errors import InputError, UsageError
from siftvton.files import sha256
from siftvton.prepare.config import ModelsConfig, PhotoConfig
from siftvton.prepare.given import fitted, paint_mask, read_given, white_mask
from siftvton.sampling.config import ExecutionConfig

from .inputs import Declaration, key_input, typed, typed_path
from .pictures import batch_of_one, colours, mask_levels, pixels

if TYPE_CHECKING:
    from siftvton.app.tryon import Garment, Person, Preparation, Result, TryOn
    from siftvton.prepare.models import Models

P = ParamSpec("P")
R = TypeVar("R")
Inputs = dict[str, dict[str, Declaration]]

NETWORK, MODELS, PERSON, GARMENT, RESULT = (
    f"SIFTVTON_{kind}" for kind in ("NETWORK", "MODELS", "PERSON", "GARMENT", "RESULT")
)
LARGEST_PLACE = 2**16  # pixels; ComfyUI requires a limit
DEVICE: Declaration = (
    "STRING",
    {"default": "", "tooltip": "device to run on, e.g. cuda:0 or cpu; empty: ComfyUI's device"},
)
MODELS_INPUT: Declaration = (
    MODELS,
    {"tooltip": "models that find what is not given; not connected: no models are used"},
)


def in_one_sentence(run: Callable[P, R]) -> Callable[P, R]:
    """Put the message of an InputError into one line, since ComfyUI shows it."""

    @wraps(run)
    def shown(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return run(*args, **kwargs)
        except InputError as error:
            raise InputError("; ".join(line.strip() for line in str(error).splitlines())) from error

    return shown


class LoadNetwork:
    """Load the weights of a try-on network."""

    DESCRIPTION = "Loads the weights of a try-on network."
    CATEGORY = "siftvton"
    FUNCTION = "load"
    RETURN_TYPES = (NETWORK,)
    RETURN_NAMES = ("network",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {
                "checkpoint": key_input("checkpoint", default=""),
                "height": key_input("data.height"),
                "width": key_input("data.width"),
                "dtype": key_input("execution.dtype"),
                "device": DEVICE,
            }
        }

    @in_one_sentence
    def load(self, checkpoint: str, height: int, width: int, dtype: str, device: str) -> tuple[TryOn]:
        from siftvton.app.tryon import TryOn

        source = typed_path(checkpoint, "checkpoint")
        if source is None:
            raise UsageError("checkpoint: is empty; give a folder, a file or a Hugging Face repository")
        execution = ExecutionConfig(dtype=dtype, device=str(_device(device)))
        return (TryOn(source, height, width, execution=execution),)


class LoadModels:
    """Choose the models that find persons, joints, clothes and body parts. Each one is loaded when it is needed."""

    DESCRIPTION = (
        "Chooses the models that find persons, joints, clothes and body parts. A model is loaded when it is first "
        "needed, and downloaded if it is not on this machine. Each has its own licence."
    )
    CATEGORY = "siftvton"
    FUNCTION = "load"
    RETURN_TYPES = (MODELS,)
    RETURN_NAMES = ("models",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        sources = ("detector", "pose", "parsing", "densepose", "densepose_sha256")
        return {"required": {**{name: key_input(f"models.{name}") for name in sources}, "device": DEVICE}}

    @in_one_sentence
    def load(
        self, detector: str, pose: str, parsing: str, densepose: str, densepose_sha256: str, device: str
    ) -> tuple[Models]:
        from siftvton.prepare.models import Models

        config = ModelsConfig(
            detector=typed_path(detector, "detector"),
            pose=typed_path(pose, "pose"),
            parsing=typed_path(parsing, "parsing"),
            densepose=typed_path(densepose, "densepose"),
            densepose_sha256=typed(densepose_sha256),
        )
        return (Models(config, _device(device)),)


class PreparePerson:
    """Make the mask and what else the network needs of a photo."""

    DESCRIPTION = (
        "Makes the mask and what else the network needs of a photo of one person. Look at the agnostic picture first: "
        "its grey region is painted. Change the mask and give it to this node again if it is not right."
    )
    CATEGORY = "siftvton"
    FUNCTION = "prepare"
    RETURN_TYPES = (PERSON, "IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("person", "agnostic", "mask", "remarks")
    OUTPUT_TOOLTIPS = (
        "the prepared person",
        "the part of the photo that the network gets, grey where it paints",
        "where the network paints, in the photo's size",
        "what you should know, one sentence a line",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {"photo": ("IMAGE", {"tooltip": "photo of one person"}), "framing": key_input("photo.framing")},
            "optional": {
                "mask": ("MASK", {"tooltip": "where the garment is painted; not connected: it is drawn"}),
                "densepose": (
                    "IMAGE",
                    {"tooltip": "DensePose of the photo, drawn in Parula's colours; not connected: a model finds it"},
                ),
                "pose": key_input("pose"),
                "parsing": key_input("parsing"),
                "parsing_labels": key_input("photo.parsing_labels"),
                "models": MODELS_INPUT,
            },
        }

    @classmethod
    def IS_CHANGED(cls, pose: str = "", parsing: str = "", **_others: object) -> str:
        """Tell ComfyUI when the content of a file has changed under the same name."""
        return " ".join(sha256(path) for path in _files(pose=pose, parsing=parsing).values())

    @in_one_sentence
    def prepare(
        self,
        photo: Tensor,
        framing: str,
        mask: Tensor | None = None,
        densepose: Tensor | None = None,
        pose: str = "",
        parsing: str = "",
        parsing_labels: str = "auto",
        models: Models | None = None,
    ) -> tuple[Person, Tensor, Tensor, str]:
        from siftvton.app.tryon import Preparation

        picture = pixels(photo, "photo")
        given = read_given(picture, **_files(pose=pose, parsing=parsing), scheme=parsing_labels)
        if mask is not None:
            painted = paint_mask(mask_levels(mask, "mask"), "mask")
            given = replace(given, mask=fitted(painted, picture, "mask", "photo"))
        if densepose is not None:
            drawn = colours(densepose, "densepose")
            given = replace(given, densepose=fitted(drawn, picture, "densepose", "photo"))
        preparation = Preparation(PhotoConfig(framing=framing), models)
        person = preparation.person_of(picture, given, "person", "photo")
        prepared = person.prepared
        remarks = _lines(preparation, prepared.remarks)
        return person, batch_of_one(prepared.agnostic), batch_of_one(_mask_of_photo(person)), remarks


class PrepareGarment:
    """Find the garment in its picture."""

    DESCRIPTION = "Finds the garment in a picture of the garment alone, flat, on a light background."
    CATEGORY = "siftvton"
    FUNCTION = "prepare"
    RETURN_TYPES = (GARMENT, "IMAGE", "STRING")
    RETURN_NAMES = ("garment", "picture", "remarks")
    OUTPUT_TOOLTIPS = (
        "the prepared garment",
        "the picture that the network gets",
        "what you should know, one sentence a line",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {
                "picture": ("IMAGE", {"tooltip": "picture of the garment alone, flat, on a light background"})
            },
            "optional": {
                "mask": ("MASK", {"tooltip": "masks the garment; not connected: it is found by the background"}),
                "models": MODELS_INPUT,
            },
        }

    @in_one_sentence
    def prepare(
        self, picture: Tensor, mask: Tensor | None = None, models: Models | None = None
    ) -> tuple[Garment, Tensor, str]:
        from siftvton.app.tryon import Preparation

        shown, area = pixels(picture, "picture"), None
        if mask is not None:
            area = fitted(white_mask(mask_levels(mask, "mask"), "mask"), shown, "mask", "garment picture")
        preparation = Preparation(models=models)
        garment = preparation.garment_of(shown, area, "garment", "picture")
        remarks = _lines(preparation, garment.prepared.remarks)
        return garment, batch_of_one(garment.prepared.picture), remarks


class TryGarmentOn:
    """Dress a person in a garment."""

    DESCRIPTION = "Dresses the person in the garment."
    CATEGORY = "siftvton"
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "IMAGE", RESULT)
    RETURN_NAMES = ("picture", "framed", "result")
    OUTPUT_TOOLTIPS = (
        "the photo with the result in it, in the photo's size",
        "the result as the network made it, in the network's size",
        "the result, to see where the network looked",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {
                "network": (NETWORK, {}),
                "person": (PERSON, {}),
                "garment": (GARMENT, {}),
                "seed": key_input("seed", control_after_generate=True),
                "steps": key_input("steps"),
                "guidance": key_input("guidance", step=0.1),
            }
        }

    @in_one_sentence
    def run(
        self, network: TryOn, person: Person, garment: Garment, seed: int, steps: int, guidance: float
    ) -> tuple[Tensor, Tensor, Result]:
        bar = ProgressBar(steps)

        def report(done: int, all_steps: int) -> None:
            throw_exception_if_processing_interrupted()
            bar.update_absolute(done, all_steps)

        result = network(person, garment, seed=seed, steps=steps, guidance=guidance, progress=report)
        return batch_of_one(result.picture), batch_of_one(result.generated), result


class Attention:
    """Show where a point of a result looks on the garment."""

    DESCRIPTION = (
        "Shows where a point of the result looks on the garment, averaged over the hooked layers, their heads and "
        "timesteps up to 500."
    )
    CATEGORY = "siftvton"
    FUNCTION = "look"
    RETURN_TYPES = ("IMAGE", "IMAGE")
    RETURN_NAMES = ("garment", "point")
    OUTPUT_TOOLTIPS = ("the garment, coloured where the point looks", "the result with the point marked")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {
            "required": {
                "result": (RESULT, {}),
                "x": _place("x of the point in pixels of the result, from the left"),
                "y": _place("y of the point in pixels of the result, from the top"),
            }
        }

    @in_one_sentence
    def look(self, result: Result, x: int, y: int) -> tuple[Tensor, Tensor]:
        looked = with_attention(result.garment.prepared.picture, result.looked_at(x, y))
        return batch_of_one(looked), batch_of_one(mark_point(result.picture, x, y))


def _place(tooltip: str) -> Declaration:
    return "INT", {"default": 0, "min": 0, "max": LARGEST_PLACE, "tooltip": tooltip}


def _device(name: str) -> torch.device:
    """Return the device that an input names; ComfyUI's own if the input is empty."""
    return device_of(typed(name) or str(get_torch_device()))


def _files(**texts: str) -> dict[str, Path]:
    """Return the paths in the inputs that are not empty, by the input's name."""
    return {name: Path(path) for name, text in texts.items() if (path := typed_path(text, name)) is not None}


def _lines(preparation: Preparation, remarks: Iterable[str]) -> str:
    """Return the remarks, and why models are missing, one a line."""
    return "\n".join([*remarks, *preparation.finder.missing.values()])


def _mask_of_photo(person: Person) -> np.ndarray:
    """Return where the network paints: (height, width) uint8 of the photo's size, 255 there, else 0."""
    mask = person.prepared.mask
    levels = np.repeat(mask[:, :, None], 3, axis=2)
    whole = person.prepared.framing.undo(levels, np.zeros_like(person.photo[:, :, :3]), np.full_like(mask, 255))
    return np.where(is_white(whole[:, :, 0]), np.uint8(255), np.uint8(0))
