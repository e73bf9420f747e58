"""Uploaded pictures: which ones are accepted, and how messages name them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from siftvton.errors import InputError
from siftvton.files import picture_size

MEGABYTE, MEGAPIXEL = 10**6, 10**6  # bytes, pixels


@dataclass(frozen=True)
class UploadLimits:
    """The largest accepted upload."""

    megabytes: int
    megapixels: int


@dataclass(frozen=True)
class Upload:
    """An uploaded file.

    Attributes:
        path: where the server keeps it during the session.
        name: its name on the user's computer.
    """

    path: Path
    name: str

    @classmethod
    def of(cls, payload: dict[str, Any] | None, folder: Path) -> "Upload | None":
        """Return the file of a payload that Gradio did not preprocess; None: nothing is uploaded.

        Args:
            folder: Gradio's folder for uploads. Gradio itself checks only those payloads that are marked as files.

        Raises:
            InputError: the file is somewhere else.
        """
        if not payload or not payload.get("path"):
            return None
        path = Path(payload["path"])
        name = Path(payload.get("orig_name") or path.name).name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{name}: was not uploaded to this page; upload it")
        return cls(path, name)

    def require_accepted(self, limits: UploadLimits) -> None:
        """Check format and size from the file's header, before anything decodes it.

        Raises:
            InputError: the file is no JPEG, PNG or WebP picture, whatever its name says, or it is too large.
        """
        size = self.path.stat().st_size
        if size > limits.megabytes * MEGABYTE:
            raise InputError(
                f"{self.name}: has {size / MEGABYTE:.1f} MB, and at most {limits.megabytes} MB are allowed; "
                "save it smaller"
            )
        try:
            height, width = picture_size(self.path)
            found = f"{width}×{height}"
            too_large = height * width > limits.megapixels * MEGAPIXEL
        except InputError as error:
            if not isinstance(error.__cause__, Image.DecompressionBombError):
                raise
            found, too_large = "too many", True
        if too_large:
            raise InputError(
                f"{self.name}: has {found} pixels, and at most {limits.megapixels} megapixels are allowed; "
                "make it smaller"
            )


@contextmanager
def named(*uploads: Upload) -> Iterator[None]:
    """Put the user's names for the files in place of the server's paths in the message of an error."""
    try:
        yield
    except InputError as error:
        said = str(error)
        for upload in uploads:
            said = said.replace(str(upload.path), upload.name)
        raise InputError(said) from error


def layer_alpha(content: bytes, size: tuple[int, int]) -> np.ndarray:
    """Return the opacity of a layer that the mask editor sends.

    Args:
        content: a PNG or WebP file.
        size: (height, width) that the layer must have.

    Returns:
        (height, width) uint8.

    Raises:
        InputError: the layer cannot be decoded or has another size.
    """
    try:
        image = Image.open(BytesIO(content), formats=("PNG", "WEBP"))
        if (image.height, image.width) == size:
            return np.asarray(image.convert("RGBA"))[..., 3]
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("mask: what was painted cannot be decoded; reload the page and paint it again") from error
    raise InputError(
        f"mask: what was painted has {image.width}×{image.height} pixels instead of {size[1]}×{size[0]}; choose the "
        "person again"
    )
