"""Configuration keys for the preparation of photos."""

from dataclasses import dataclass

from siftvton.data.layouts import CATEGORIES
from siftvton.options import LARGEST_SIDE, option
from siftvton.prepare.published import DENSEPOSE, DETECTOR, PARSING, POSE


@dataclass
class ModelsConfig:
    """The models that make side pictures; each is fetched from the Hugging Face hub when it is first needed."""

    detector: str | None = option(
        DETECTOR.source,
        "RT-DETR model that finds persons: a folder, or a repository owner/name@revision on the Hugging Face hub; "
        "null: none",
        path=True,
    )
    pose: str | None = option(
        POSE.source,
        "ViTPose model that finds the joints: a folder, or a repository owner/name@revision on the Hugging Face hub; "
        "null: none",
        path=True,
    )
    parsing: str | None = option(
        PARSING.source,
        "SegFormer model with the 18 labels of ATR that finds clothes and skin: a folder, or a repository "
        "owner/name@revision on the Hugging Face hub; null: none",
        path=True,
    )
    densepose: str | None = option(
        DENSEPOSE.source,
        "TorchScript file of DensePose that finds the body's parts: the path of a file, or "
        "hf://owner/name@revision/file on the Hugging Face hub; null: none",
        path=True,
    )
    densepose_sha256: str | None = option(
        None, "SHA-256 of another `densepose` file to allow; that file can run code, so you must trust it; null: none"
    )


@dataclass
class PhotoConfig:
    """The size and proportions of prepared pictures, and how the user's own files are read."""

    framing: str = option(
        "crop",
        "how a photo with other proportions is framed; crop: cut off its edges, but not the person; pad: keep all of "
        "it and add space",
        choices=("crop", "pad"),
    )
    height: int = option(
        1024, "largest height of a prepared picture, in pixels; smaller pictures are not enlarged", minimum=64,
        maximum=LARGEST_SIDE,
    )  # fmt: skip
    width: int = option(
        768, "largest width of a prepared picture, in pixels; height and width also give the proportions", minimum=48,
        maximum=LARGEST_SIDE,
    )  # fmt: skip
    category: str = option(
        CATEGORIES[0],
        "category of the garment to try on; the agnostic mask is drawn for it (prepare layout=dresscode ignores this "
        "key)",
        choices=CATEGORIES,
    )
    parsing_labels: str = option(
        "auto",
        "label set of your parsing pictures; auto: recognise it where this is certain, else assume CIHP's labels, "
        "which VITON-HD uses",
        choices=("auto", "cihp", "lip", "atr"),
    )

    @property
    def largest(self) -> tuple[int, int]:
        """(height, width) of the largest prepared picture, pixels."""
        return self.height, self.width
