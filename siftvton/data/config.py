"""The configuration keys that say which data are used."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from siftvton.data.layouts import LAYOUTS, layout_of
from siftvton.options import LARGEST_SEED, LARGEST_SIDE, MANY, option

if TYPE_CHECKING:
    from siftvton.data.layouts.base import Layout


@dataclass
class Data:
    root: str = option("data/vitonhd", "folder that holds train/, test/ and the pair lists (data/README.md)", path=True)
    layout: str = option("vitonhd", "how the data folder is laid out", choices=tuple(LAYOUTS))

    def open(self) -> "Layout":
        """The object that knows the pairs and the files."""
        return layout_of(self.layout, self.root)


@dataclass
class SplitData(Data):
    validation_pairs: int = option(
        1000,
        "hold out at least this many pairs of train_pairs.txt if the authors' lists are missing (paper §4.1)",
        minimum=0,
        maximum=MANY,
    )
    split_seed: int = option(0, "seed for the draw of the validation pairs", minimum=0, maximum=LARGEST_SEED)
    height: int = option(
        512,
        "height of every picture in pixels; a multiple of VAE stride × deepest latent stride",
        minimum=8,
        maximum=LARGEST_SIDE,
    )
    width: int = option(
        384,
        "width of every picture in pixels; a multiple of VAE stride × deepest latent stride",
        minimum=8,
        maximum=LARGEST_SIDE,
    )

    def open(self) -> "Layout":
        return layout_of(self.layout, self.root, self.validation_pairs, self.split_seed)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every picture, pixels."""
        return self.height, self.width


@dataclass
class HeldOutData(SplitData):
    split: str = option("test", "split whose pairs are used", choices=("train", "validation", "test"))


@dataclass
class MatchesFrame:
    """The size that matches are measured in."""

    matches_frame: list[int] = option(
        [512, 384],
        "height and width of the pictures on which the matches were found, in pixels",
        minimum=8,
        length=2,
        maximum=LARGEST_SIDE,
    )

    @property
    def frame(self) -> tuple[int, int]:
        """(height, width), pixels."""
        height, width = self.matches_frame
        return height, width


@dataclass
class SiftData(MatchesFrame, Data):
    split: str = option("train", "folder whose pairs are matched", choices=("train", "test"))


@dataclass
class PictureData(SplitData):
    augment: bool = option(True, "flip, shift, scale, rotate and recolour training pairs")


@dataclass
class TrainData(MatchesFrame, PictureData):
    matches: str | None = option(None, "folder of match files; null: <root>/train/sift_matching", path=True)


@dataclass
class CheckedData(MatchesFrame, SplitData):
    split: str = option("all", "split to check; all: train and test", choices=("all", "train", "validation", "test"))
    matches: str | None = option(None, "folder of match files; null: <root>/train/sift_matching", path=True)
