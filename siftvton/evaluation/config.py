"""Configuration keys for measurements."""

from dataclasses import dataclass, field

from siftvton.data.config import HeldOutData
from siftvton.options import LARGEST_SEED, MANY, WORKERS, option
from siftvton.sampling.config import WeightChanges


@dataclass
class ComparedResults:
    """The results of one method or several, and the data that they belong to."""

    data: HeldOutData = field(default_factory=HeldOutData)
    predictions: dict[str, str] = option(
        {},
        "results to use, one entry for each method: predictions.<name>=<folder of <person>_<garment>.jpg or .png>, or "
        "a path that contains {person} and {garment}",
        path=True,
    )
    setting: str = option(
        "unpaired",
        "paired: results with the worn garment; unpaired: results with the garment in the pair list",
        choices=("paired", "unpaired"),
    )


@dataclass
class Evaluate(ComparedResults):
    """Score folders of results (paper §4.1: SSIM and LPIPS if paired, FID and KID if unpaired)."""

    limit: int | None = option(
        None, "number of pairs to use, from the start of the pair list; null: all", minimum=1, maximum=MANY
    )
    published: bool = option(False, "also show the published scores (VITON-HD, test split)")
    inception: str | None = option(
        None,
        "file inception-2015-12-05.pt of clean-fid, for FID and KID; null: take it from the cache, else download it",
        path=True,
    )
    inception_sha256: str | None = option(
        None, "SHA-256 of another `inception` file to allow; that file can run code, so you must trust it; null: none"
    )
    alexnet: str | None = option(
        None,
        "file alexnet-owt-7be5be79.pth of torchvision, for LPIPS; null: take it from the cache, else download it",
        path=True,
    )
    autoencoder: str | None = option(
        None, "folder of an autoencoder, for a Fréchet distance on its features; null: no such distance", path=True
    )
    batch_size: int = option(16, "number of pictures to process at once", minimum=1, maximum=10**6)
    workers: int = option(
        2, "number of data loading processes; 0: load in the main process", minimum=0, maximum=WORKERS
    )
    seed: int = option(0, "seed for the random subsets of KID", minimum=0, maximum=LARGEST_SEED)
    device: str | None = option(None, "device to run on, e.g. cuda:0 or cpu; null: the GPU if there is one")
    output: str = option("outputs/evaluate", "folder for the tables", path=True)


@dataclass
class NoisedPhotos(WeightChanges):
    """The noise levels at which attention is recorded, changes of the weights, and where the network runs."""

    timesteps: list[int] = option(
        [50, 150, 250, 350, 450],
        "timesteps at which noise is added to the photos; attention is averaged over them",
        minimum=0,
        maximum=999,
    )
    seed: int = option(0, "seed for the noise", minimum=0, maximum=LARGEST_SEED)
    device: str | None = option(None, "device to run on, e.g. cuda:0 or cpu; null: the GPU if there is one")
