"""The configuration of a reproduction: what to reproduce, and the published figures with their tolerances."""

from dataclasses import dataclass, field

from siftvton.data.config import Data
from siftvton.options import LARGEST_SEED, MANY, option

LARGEST_DISTANCE = 1e6  # of FID and KID


@dataclass
class Figures:
    """The published scores of one row of a table; each is null where none is published."""

    ssim: float | None = option(None, "published SSIM, paired setting; null: none", minimum=-1, maximum=1)
    lpips: float | None = option(None, "published LPIPS, paired setting; null: none", minimum=0, maximum=10)
    fid: float | None = option(None, "published FID, unpaired setting; null: none", minimum=0, maximum=LARGEST_DISTANCE)
    kid: float | None = option(
        None,
        "published KID × 1000, unpaired setting; null: none",
        minimum=-LARGEST_DISTANCE,
        maximum=LARGEST_DISTANCE,
    )


@dataclass
class Tolerances:
    """How far a score may be from its published figure, in either direction."""

    ssim: float | None = option(None, "largest allowed difference of SSIM; null: unknown", minimum=0, maximum=1)
    lpips: float | None = option(None, "largest allowed difference of LPIPS; null: unknown", minimum=0, maximum=10)
    fid: float | None = option(
        None, "largest allowed difference of FID; null: unknown", minimum=0, maximum=LARGEST_DISTANCE
    )
    kid: float | None = option(
        None, "largest allowed difference of KID × 1000; null: unknown", minimum=0, maximum=LARGEST_DISTANCE
    )


@dataclass
class Target:
    """Weights whose scores are published."""

    checkpoint: str | None = option(
        None,
        "weights: a saved pipeline's folder, a published .ckpt or .safetensors file, or a Hugging Face repository, "
        "best with a revision; null: none, and for `trained`: train them",
        path=True,
    )
    sha256: str | None = option(
        None,
        "SHA-256 that the weights must have; null: the first run records that of its weights, and later runs compare",
    )
    row: str = option("", "where the published figures are from: the document, its table and the row")
    sampling: str = option("", "further keys of infer.py with which the published results were sampled")
    note: str = option("", "known differences from the published protocol, for the report")
    published: Figures = field(default_factory=Figures)
    tolerance: Tolerances = field(default_factory=Tolerances)
    reason: dict[str, str] = option({}, "why the tolerance of a measure has its size: reason.<measure>=<text>")


@dataclass
class Reproduce:
    """Reproduce published scores: fetch weights, check data, sample both settings, score, and judge."""

    what: str = option(
        "sift-vton",
        "what to reproduce; sift-vton: the scores of the released weights; stableviton: those of the baseline's "
        "weights; train: fine-tune the baseline's weights, then score the result",
        choices=("sift-vton", "stableviton", "train"),
    )
    settings: str = option("configs/reproduce.yaml", "YAML file with keys for the commands that are called", path=True)
    data: Data = field(default_factory=Data)
    sift_vton: Target = field(default_factory=Target)
    stableviton: Target = field(default_factory=Target)
    trained: Target = field(default_factory=Target)
    matches: str | None = option(
        None,
        "folder of match files for what=train; null: find the matches and write them to <output>/matches",
        path=True,
    )
    pairs: int = option(
        2032, "number of test pairs that the published figures are for; fewer give no verdict", minimum=2, maximum=MANY
    )
    limit: int | None = option(
        None,
        "number of test pairs to sample, and of updates to train with what=train, for a trial run without a verdict; "
        "null: all",
        minimum=2,
        maximum=MANY,
    )
    seed: int = option(
        0, "seed for training, for sampling and for KID's random subsets", minimum=0, maximum=LARGEST_SEED
    )
    keys: dict[str, str] = option(
        {}, "further keys of a command: keys.<command>=<its keys>, e.g. keys.infer='batch_size=8'"
    )
    output: str = option(
        "outputs/reproduce", "folder for the record of the weights, the results, the scores and the verdict", path=True
    )
