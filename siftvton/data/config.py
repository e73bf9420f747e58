"""Configuration keys for the data that a command reads."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from siftvton.data.layouts import ALL, AUTO, CATEGORIES, LAYOUTS, layout_of
from siftvton.options import LARGEST_SEED, LARGEST_SIDE, MANY, option

if TYPE_CHECKING:
    from siftvton.data.layouts.base import Layout

MATCHES_TEXT = "folder of match files; null: <root>/train/sift_matching, for DressCode <root>/sift_matching"


@dataclass
class Data:
    root: str = option(
        "data/vitonhd", "data folder with the pictures and the pair lists of a data set (data/README.md)", path=True
    )
    layout: str = option(AUTO, "how the data folder is organised; auto: recognise the layout", choices=(AUTO, *LAYOUTS))
    category: str = option(ALL, "category of garments to use; VITON-HD has only upper_body", choices=(ALL, *CATEGORIES))
    agnostic: str | None = option(
        None,
        "folder with agnostic masks and pictures, as prepare writes them; its files are used in place of those in the "
        "data folder; null: the data folder",
        path=True,
    )

    def open(self) -> "Layout":
        """Return the layout, which finds the pairs and the files."""
        return layout_of(self.layout, self.root, category=self.category, agnostic=self.agnostic)


@dataclass
class PictureSize:
    height: int = option(
        512,
        "height of every picture in pixels; a multiple of the network's stride (64 for the full model)",
        minimum=8,
        maximum=LARGEST_SIDE,
    )
    width: int = option(
        384,
        "width of every picture in pixels; a multiple of the network's stride (64 for the full model)",
        minimum=8,
        maximum=LARGEST_SIDE,
    )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every picture, pixels."""
        return self.height, self.width


@dataclass
class SplitData(PictureSize, Data):
    validation_pairs: int = option(
        1000,
        "smallest number of pairs of train_pairs.txt to hold out for validation (paper §4.1); unused if the authors' "
        "pair lists exist",
        minimum=0,
        maximum=MANY,
    )
    split_seed: int = option(0, "seed for the draw of the validation pairs", minimum=0, maximum=LARGEST_SEED)

    def open(self) -> "Layout":
        return layout_of(self.layout, self.root, self.validation_pairs, self.split_seed, self.category, self.agnostic)


@dataclass
class HeldOutData(SplitData):
    split: str = option("test", "split of the data to use", choices=("train", "validation", "test"))


@dataclass
class MatchesFrame:
    """The size of the pictures on which matches are measured."""

    matches_frame: list[int] = option(
        [512, 384],
        "height and width, in pixels, of the pictures on which matches are found; match files use these pixels",
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
    split: str = option(
        "train", "split of the data to use; train includes the validation pairs", choices=("train", "test")
    )


@dataclass
class PictureData(SplitData):
    augment: bool = option(True, "flip, shift, scale, rotate and recolour the training pairs at random")


@dataclass
class TrainData(MatchesFrame, PictureData):
    max_pairs: int | None = option(
        None,
        "number of training pairs to use, from the start of their list, for a quick trial; null: all",
        minimum=1,
        maximum=MANY,
    )
    matches: str | None = option(None, MATCHES_TEXT, path=True)
    cache_latents: str | None = option(
        None,
        "folder in which each training pair is kept with its latents, so that its files are decoded and encoded only "
        "once; requires augment=false; several runs can share it; null: encode in every epoch",
        path=True,
    )


@dataclass
class CheckedData(MatchesFrame, SplitData):
    split: str = option(
        "all", "split of the data to use; all: train and test", choices=("all", "train", "validation", "test")
    )
    matches: str | None = option(None, MATCHES_TEXT, path=True)
