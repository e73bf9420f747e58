"""The configurations that say what is measured."""

from dataclasses import dataclass, field

from siftvton.data.config import HeldOutData
from siftvton.options import LARGEST_SEED, MANY, WORKERS, option


@dataclass
class Evaluate:
    """Score folders of results (paper §4.1: SSIM, LPIPS paired; FID, KID unpaired)."""

    data: HeldOutData = field(default_factory=HeldOutData)
    predictions: dict[str, str] = option(
        {},
        "predictions.<name>=<folder of <person>_<garment>.jpg or .png>, or a path with {person} and {garment} in it; "
        "several may be given",
        path=True,
    )
    setting: str = option("unpaired", "setting in which the results were made", choices=("paired", "unpaired"))
    limit: int | None = option(None, "use only the first so many pairs; null: all", minimum=1, maximum=MANY)
    published: bool = option(False, "show the published figures beside (VITON-HD, test)")
    inception: str | None = option(
        None, "clean-fid's inception-2015-12-05.pt; null: look in the cache, else download", path=True
    )
    inception_sha256: str | None = option(
        None, "SHA-256 of another `inception` file to allow; it is a program, so it must be one that you trust"
    )
    alexnet: str | None = option(
        None, "torchvision's alexnet-owt-7be5be79.pth; null: look in the cache, else download", path=True
    )
    autoencoder: str | None = option(
        None, "folder of an autoencoder: also give a Fréchet distance on its features", path=True
    )
    batch_size: int = option(16, "pictures at once", minimum=1, maximum=10**6)
    workers: int = option(2, "number of data loading processes", minimum=0, maximum=WORKERS)
    seed: int = option(0, "seed for the subsets of KID", minimum=0, maximum=LARGEST_SEED)
    device: str | None = option(None, "e.g. cuda:0; null: a GPU where there is one")
    output: str = option("outputs/evaluate", "folder for the tables", path=True)


@dataclass
class NoisedPhotos:
    """Which noise levels attention is looked at, and where the network runs."""

    timesteps: list[int] = option(
        [50, 150, 250, 350, 450],
        "timesteps that the photos are noised to, of 1000; attention is averaged over them",
        minimum=0,
        maximum=999,
    )
    seed: int = option(0, "seed for the noise", minimum=0, maximum=LARGEST_SEED)
    device: str | None = option(None, "device to run on, e.g. cuda:0; null: a GPU where there is one")
