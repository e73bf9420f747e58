"""Configuration keys for training the network and the toy autoencoder."""

from dataclasses import dataclass, field

from siftvton.data.config import PictureData, TrainData
from siftvton.model.config import ModelConfig
from siftvton.options import LARGEST_SEED, LARGEST_SIDE, LARGEST_WEIGHT, MANY, WORKERS, option

LARGEST_BETA = 0.999999  # a mean with a decay of 1 would never change


@dataclass
class SupervisionConfig:
    """The attention losses (paper §3.2, and StableVITON's attention total variation)."""

    weight: float = option(
        0.0005,
        "weight of the attention loss: λ of Eq. 3, on the mean of Eq. 2; 0: no attention loss",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    max_timestep: int = option(
        500, "largest timestep at which images are supervised (η in the paper)", minimum=0, maximum=999
    )
    layers: str = option(
        "middle",
        "hooked layers to supervise: the middle one of each resolution, or all",
        choices=("middle", "all"),
    )
    atv_weight: float = option(
        0.0,
        "weight of StableVITON's attention total-variation loss, 0.001 in StableVITON; 0: no such loss",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    place_weight: float = option(
        0.0,
        "weight of the place loss: the distance from the attention-weighted mean place on the garment to the place of "
        "the match, in heights of the garment picture; 0: no such loss",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    flow_weight: float = option(
        0.0,
        "weight of Leffa's flow loss: the squared difference between the photo and the garment, warped to where "
        "attention looks; 0.001 in Leffa; 0: no such loss",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    match_sigma: float = option(
        0.0,
        "standard deviation of the Gaussian that spreads a match over the cells of the garment, in pixels of the "
        "training pictures; 0: a match counts for one cell, as in the paper",
        minimum=0,
        maximum=LARGEST_SIDE,
    )
    match_reach: float = option(
        0.0,
        "interpolate further matches between those that were found, up to this distance from one, in pixels of the "
        "training pictures; 0: none, as in the paper",
        minimum=0,
        maximum=LARGEST_SIDE,
    )

    @property
    def uses_matches(self) -> bool:
        return self.weight > 0 or self.place_weight > 0

    @property
    def uses_worn_mask(self) -> bool:
        return self.atv_weight > 0 or self.flow_weight > 0

    @property
    def uses_hooked_layers(self) -> bool:
        """Whether a loss runs on ``layers``."""
        return self.uses_matches or self.flow_weight > 0


@dataclass
class OptimisationConfig:
    """How the network is trained (paper §4.1, and the published run)."""

    epochs: float | None = option(
        160.0, "number of passes over the training pairs; unused if `updates` is given", minimum=0.001, maximum=1e6
    )
    updates: int | None = option(
        None, "number of optimiser updates; null: as many as `epochs` needs", minimum=1, maximum=MANY
    )
    batch_size: int = option(8, "number of images in a process at once (a micro-batch)", minimum=1, maximum=10**6)
    accumulation: int = option(
        4,
        "number of micro-batches in an update; the batch is batch_size × accumulation × processes",
        minimum=1,
        maximum=10**6,
    )
    optimizer: str = option(
        "adamw",
        "optimiser; adamw8bit (extra `adamw8bit`) stores its state in a quarter of the memory, and adafactor in less",
        choices=("adamw", "adamw8bit", "adafactor"),
    )
    learning_rate: float = option(1e-4, "learning rate of the optimiser", minimum=0, maximum=100)
    weight_decay: float = option(0.01, "weight decay of the optimiser", minimum=0, maximum=1000)
    adam_beta1: float = option(
        0.9, "β₁ of AdamW, the decay of its mean of the gradients; not for adafactor", minimum=0, maximum=LARGEST_BETA
    )
    adam_beta2: float = option(
        0.999,
        "β₂ of AdamW, the decay of its mean of the squared gradients; not for adafactor",
        minimum=0,
        maximum=LARGEST_BETA,
    )
    adam_epsilon: float = option(
        1e-8,
        "ε of AdamW, which it adds to the root of the mean squared gradient before it divides by it; not for adafactor",
        minimum=1e-15,
        maximum=1,
    )
    warmup_updates: int = option(
        100,
        "number of updates over which the learning rate first rises linearly from 1 % to its full value",
        minimum=0,
        maximum=MANY,
    )
    schedule: str = option(
        "constant",
        "learning rate after the warm-up; cosine: it falls to 0 at the last update",
        choices=("constant", "cosine"),
    )
    max_gradient_norm: float | None = option(
        None, "largest gradient norm; larger gradients are scaled down to it; null: no limit", minimum=1e-9, maximum=1e9
    )
    ema_decay: float | None = option(
        None,
        "decay of a moving average of the weights, which is then validated and saved; null: no average",
        minimum=0,
        maximum=1,
    )
    min_snr_gamma: float | None = option(
        5.0,
        "γ of the min-SNR weighting of the diffusion loss; null: the error has the same weight at every timestep",
        minimum=0,
        maximum=1e12,
    )
    dropout: float = option(
        0.1, "share of images that are trained without garment and image context", minimum=0, maximum=1
    )
    noise_offset: float = option(
        0.0,
        "standard deviation of a shift that is drawn for each image and latent channel and added to its noise, so that "
        "brightness is learned better; often 0.1; 0: none, as published",
        minimum=0,
        maximum=1,
    )
    trainable: str = option(
        "finetune",
        "parts to train; finetune: those of the paper; all: everything but the VAE; lora (extra `lora`): a small "
        "update of the layers in lora_layers, written to <output>/model_lora instead of a whole model",
        choices=("finetune", "all", "lora"),
    )
    lora_rank: int = option(
        16, "rank of each layer's update; larger: more is learned, with more memory", minimum=1, maximum=4096
    )
    lora_alpha: int = option(16, "α of the updates: they are scaled by α / lora_rank", minimum=1, maximum=10**6)
    lora_layers: str = option(
        "attention",
        "layers that get an update; attention: the attention projections in all parts that fine-tuning trains (garment "
        "encoder, decoder, hooked layers); hooked: those of the hooked cross-attention alone; linear: those of "
        "attention and the feed-forward layers",
        choices=("attention", "hooked", "linear"),
    )
    mixed_precision: str = option(
        "bf16", "number format of activations in training; no: float32", choices=("no", "fp16", "bf16")
    )
    gradient_checkpointing: bool = option(
        False, "recompute activations in the backward pass, which saves memory and takes longer"
    )
    compile: bool = option(
        False,
        "compile the network's blocks, except the supervised ones; meant for GPUs: the first update takes minutes",
    )
    seed: int = option(0, "seed for all random draws in training", minimum=0, maximum=LARGEST_SEED)
    workers: int = option(
        4, "number of data loading processes; 0: load in the main process", minimum=0, maximum=WORKERS
    )
    checkpoint_every: int = option(1000, "number of updates between checkpoints", minimum=1, maximum=MANY)
    keep_checkpoints: int = option(2, "number of newest checkpoints to keep", minimum=1, maximum=MANY)
    save_dtype: str = option(
        "float32",
        "number format of the weights in the written models; float16 and bfloat16 take half of the space; checkpoints "
        "always hold the exact weights",
        choices=("float32", "float16", "bfloat16"),
    )
    save_variant: bool = option(
        False,
        "write models under diffusers' names for their number format, e.g. diffusion_pytorch_model.fp16.safetensors; "
        "requires save_dtype=float16 or bfloat16",
    )
    validate_every: int = option(
        1000, "number of updates between validations; 0: no validation", minimum=0, maximum=MANY
    )
    validation_pictures: int = option(8, "number of validation pairs to sample and score", minimum=1, maximum=MANY)
    validation_steps: int = option(20, "number of sampling steps in validation", minimum=1, maximum=1000)
    inception: str | None = option(
        None, "file inception-2015-12-05.pt of clean-fid, for FID and KID in validation; null: neither", path=True
    )
    inception_sha256: str | None = option(
        None, "SHA-256 of another `inception` file to allow; that file can run code, so you must trust it; null: none"
    )
    alexnet: str | None = option(
        None, "file alexnet-owt-7be5be79.pth of torchvision, for LPIPS in validation; null: no LPIPS", path=True
    )
    tracker: str | None = option(
        None, "accelerate tracker, e.g. tensorboard (extra `tracking`) or wandb (pip install wandb); null: none"
    )
    run_name: str | None = option(
        None, "name of the run in the tracker; null: the name that the tracker gives; requires `tracker`"
    )
    profile_updates: int = option(
        0,
        "number of updates to profile; the first two updates after a start are left out; PyTorch's profiler writes a "
        "trace for each process to <output>/profile; 0: none",
        minimum=0,
        maximum=1000,
    )
    push_to_hub: str | None = option(
        None, "Hugging Face repository, as owner/name, to which the final model is uploaded; null: none"
    )
    cpu: bool = option(False, "train on the CPU even if there is a GPU")


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
        "latest",
        "checkpoint in `output` to continue from: latest, or a name; null: start from the beginning, in a new `output`",
    )


@dataclass
class TrainAutoencoder:
    """Train a small autoencoder on photos and garments (toy size; the full model has Stable Diffusion's)."""

    data: PictureData = field(default_factory=PictureData)
    pretrained: str | None = option(
        None, "folder of an autoencoder to start from, which also sets all sizes; null: random weights", path=True
    )
    channels: list[int] = option(
        [16, 32, 64],
        "number of channels in each level, finest level first; each level but the last halves height and width",
        minimum=1,
        maximum=16384,
    )
    latent_channels: int = option(
        4, "channels of the latent; the first three hold the cells' mean colours", minimum=3, maximum=64
    )
    blocks_per_level: int = option(1, "number of residual blocks in each level", minimum=1, maximum=64)
    norm_groups: int = option(8, "number of groups in group normalisation", minimum=1, maximum=4096)
    updates: int = option(4000, "number of optimiser updates", minimum=1, maximum=MANY)
    batch_size: int = option(3, "number of pairs in an update, with six crops of each", minimum=1, maximum=10**6)
    crop: int = option(
        64,
        "height and width of a crop in pixels; a multiple of the autoencoder's stride",
        minimum=8,
        maximum=LARGEST_SIDE,
    )
    learning_rate: float = option(
        2e-3,
        "learning rate of AdamW after 50 updates of warm-up; it then falls to 0 along a cosine",
        minimum=0,
        maximum=100,
    )
    kl_weight: float = option(
        1e-6,
        "weight of the posterior's KL divergence, taken as the mean over latent elements",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    squared_weight: float = option(
        5.0, "weight of the squared difference between the pictures", minimum=0, maximum=LARGEST_WEIGHT
    )
    gradient_weight: float = option(
        1.0, "weight of the L1 difference between the pictures' gradients", minimum=0, maximum=LARGEST_WEIGHT
    )
    colour_weight: float = option(
        0.3,
        "weight of the L1 difference between the pictures' opponent colours, without brightness and averaged over "
        "4×4 pixels",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    anchor_weight: float = option(
        1.0,
        "weight of the squared difference between three latent channels and the mean opponent colours of each cell",
        minimum=0,
        maximum=LARGEST_WEIGHT,
    )
    latent_deviation: float = option(1.0, "standard deviation of the latents after scaling", minimum=1e-3, maximum=1000)
    mixed_precision: str = option(
        "no", "number format of activations in training; no: float32", choices=("no", "fp16", "bf16")
    )
    workers: int = option(
        0, "number of data loading processes; 0: load in the main process", minimum=0, maximum=WORKERS
    )
    checkpoint_every: int = option(500, "number of updates between checkpoints", minimum=1, maximum=MANY)
    seed: int = option(0, "seed for all random draws in training", minimum=0, maximum=LARGEST_SEED)
    output: str = option("outputs/autoencoder", "folder for the trained autoencoder", path=True)
