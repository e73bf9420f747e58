"""Configuration keys for the preparation of photos."""

from dataclasses import dataclass

from siftvton.options import option
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
        "TorchScript file of DensePose that finds the body's parts: a file, or hf://owner/name@revision/file on the "
        "Hugging Face hub; null: none",
        path=True,
    )
    densepose_sha256: str | None = option(
        None, "SHA-256 of another `densepose` file to allow; that file can run code, so you must trust it; null: none"
    )
