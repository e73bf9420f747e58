"""The configurations of both trainings."""

from dataclasses import dataclass, field

from siftvton.data.config import PictureData, TrainData
from siftvton.model.config import ModelConfig
from siftvton.options import LARGEST_SEED, LARGEST_SIDE, LARGEST_WEIGHT, MANY, WORKERS, option


@dataclass
class SupervisionConfig:
    """The attention losses (paper §3.2; ATV is StableVITON's)."""

    weight: float = option(0.0005, "λ of Eq. 3 on the mean of Eq. 2; 0: none", minimum=0, maximum=LARGEST_WEIGHT)
    max_timestep: int = option(500, "η: supervise images with t ≤ η, of 1000", minimum=0, maximum=999)
    layers: str = option("middle", "which hooked layers of each resolution", choices=("middle", "all"))
    atv_weight: float = option(
        0.0, "scale of StableVITON's attention total variation; its own is 0.001", minimum=0, maximum=LARGEST_WEIGHT
    )


@dataclass
class OptimisationConfig:
    """Training (paper §4.1, method of the published run)."""

    epochs: float | None = option(
        160.0, "passes over the training pairs; used where `updates` is null", minimum=0.001, maximum=1e6
    )
    updates: int | None = option(None, "optimiser updates in all; overrides `epochs`", minimum=1, maximum=MANY)
    batch_size: int = option(8, "images a process holds at once", minimum=1, maximum=10**6)
    accumulation: int = option(
        4, "micro-batches an update; batch_size × accumulation × processes = batch", minimum=1, maximum=10**6
    )
    learning_rate: float = option(1e-4, "learning rate of AdamW", minimum=0, maximum=100)
    weight_decay: float = option(0.01, "weight decay of AdamW", minimum=0, maximum=1000)
    warmup_updates: int = option(100, "linear warm-up from 1 % of the learning rate, updates", minimum=0, maximum=MANY)
    schedule: str = option(
        "constant",
        "learning rate after the warm-up; cosine: falls to 0 at the last update",
        choices=("constant", "cosine"),
    )
    max_gradient_norm: float | None = option(
        None, "largest norm of the gradient, which is clipped there; null: never", minimum=1e-9, maximum=1e9
    )
    ema_decay: float | None = option(
        None,
        "keep an average of the weights, with this decay, for validation and the saved model; null: none",
        minimum=0,
        maximum=1,
    )
    min_snr_gamma: float = option(5.0, "γ of min-SNR weighting", minimum=0, maximum=1e12)
    dropout: float = option(0.1, "share of images trained without garment and image context", minimum=0, maximum=1)
    trainable: str = option(
        "finetune", "what learns: the paper's parts, or all but the VAE", choices=("finetune", "all")
    )
    mixed_precision: str = option("bf16", "precision of activations in training", choices=("no", "fp16", "bf16"))
    gradient_checkpointing: bool = option(False, "recompute activations in the backward pass: less memory, slower")
    seed: int = option(0, "seed for all random draws in training", minimum=0, maximum=LARGEST_SEED)
    workers: int = option(4, "number of data loading processes", minimum=0, maximum=WORKERS)
    checkpoint_every: int = option(1000, "updates between checkpoints", minimum=1, maximum=MANY)
    keep_checkpoints: int = option(2, "how many of the newest checkpoints are kept", minimum=1, maximum=MANY)
    validate_every: int = option(1000, "updates between validations; 0: none", minimum=0, maximum=MANY)
    validation_pictures: int = option(8, "validation pairs that are sampled and scored", minimum=1, maximum=MANY)
    validation_steps: int = option(20, "sampling steps of validation pictures", minimum=1, maximum=1000)
    inception: str | None = option(None, "clean-fid's inception-2015-12-05.pt: validate by FID and KID, too", path=True)
    inception_sha256: str | None = option(
        None, "SHA-256 of another `inception` file to allow; it is a program, so it must be one that you trust"
    )
    alexnet: str | None = option(None, "torchvision's alexnet-owt-7be5be79.pth: validate by LPIPS, too", path=True)
    tracker: str | None = option(
        None, "accelerate tracker, e.g. tensorboard (extra `tracking`) or wandb (pip install wandb); null: none"
    )
    push_to_hub: str | None = option(None, "owner/name on the Hugging Face hub, which gets `model` in the end")
    cpu: bool = option(False, "train on the CPU even where there is a GPU")


@dataclass
class Train:
    """Train or fine-tune the try-on network (paper §3, Eq. 3)."""

    data: TrainData = field(default_factory=TrainData)
    model: ModelConfig = field(default_factory=ModelConfig)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)
    train: OptimisationConfig = field(default_factory=OptimisationConfig)
    output: str = option(
        "outputs/train", "folder for checkpoints, metrics, validation sheets and the final model", path=True
    )
    resume: str | None = option(
        "latest", "go on with the newest checkpoint in `output`, or with a named one; null: only start afresh"
    )


@dataclass
class TrainAutoencoder:
    """Train a small autoencoder from scratch on photos and garments (toy size; the full model has SD's)."""

    data: PictureData = field(default_factory=PictureData)
    pretrained: str | None = option(None, "folder of an autoencoder to go on from; its sizes count", path=True)
    channels: list[int] = option(
        [16, 32, 64],
        "channels of each level, finest first; each but the last halves the size",
        minimum=1,
        maximum=16384,
    )
    latent_channels: int = option(
        4, "channels of the latent; the first three hold the cells' mean colours", minimum=3, maximum=64
    )
    blocks_per_level: int = option(1, "residual blocks of each level", minimum=1, maximum=64)
    norm_groups: int = option(8, "groups of the group normalisation", minimum=1, maximum=4096)
    updates: int = option(4000, "optimiser updates in all", minimum=1, maximum=MANY)
    batch_size: int = option(3, "pairs an update, six crops each", minimum=1, maximum=10**6)
    crop: int = option(
        64,
        "height and width of a crop, pixels; a multiple of the autoencoder's stride",
        minimum=8,
        maximum=LARGEST_SIDE,
    )
    learning_rate: float = option(
        2e-3, "learning rate of AdamW, after 50 updates of warm-up, with a cosine decay to 0", minimum=0, maximum=100
    )
    kl_weight: float = option(
        1e-6, "weight of the posterior's KL divergence, per latent element", minimum=0, maximum=LARGEST_WEIGHT
    )
    squared_weight: float = option(5.0, "weight of the squared distance of pictures", minimum=0, maximum=LARGEST_WEIGHT)
    gradient_weight: float = option(
        1.0, "weight of the L1 distance of picture gradients", minimum=0, maximum=LARGEST_WEIGHT
    )
    colour_weight: float = option(
        0.3,
        "weight of the L1 distance of opponent colours without their brightness, averaged over 4×4 pixels",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    anchor_weight: float = option(
        1.0,
        "weight of the squared distance of three latent channels from the cells' mean opponent colours",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    latent_deviation: float = option(
        1.0, "standard deviation that the scaling factor gives the latents", minimum=1e-3, maximum=1000
    )
    mixed_precision: str = option("no", "precision of activations in training", choices=("no", "fp16", "bf16"))
    workers: int = option(0, "number of data loading processes", minimum=0, maximum=WORKERS)
    checkpoint_every: int = option(500, "updates between checkpoints", minimum=1, maximum=MANY)
    seed: int = option(0, "seed for all random draws in training", minimum=0, maximum=LARGEST_SEED)
    output: str = option("outputs/autoencoder", "folder for the trained autoencoder", path=True)
