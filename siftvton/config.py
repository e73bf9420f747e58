"""Every script's configuration: the one typed source of defaults.

``configs/*.yaml`` hold differences from these defaults and the reasons for them. A configuration file may hold
keys of several scripts; each script takes its own. Nothing heavy is imported here, so that ``--help`` is quick and
preprocessing workers stay small.
"""

import math
from collections.abc import Iterable
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any, get_args

# What several keys share: generous, so that no honest setting is refused, and finite, so that no absurd one passes.
LARGEST_SIDE = 8192  # of a picture, pixels
MANY = 10**9  # updates, pairs
LARGEST_SEED = 2**63 - 1
LARGEST_WEIGHT = 1e6  # of a loss
WORKERS = 1024
MOST_NUMBERS = 1000  # in a list


def option(
    default: Any,
    text: str,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    length: int | None = None,
    path: bool = False,
) -> Any:
    """A dataclass field with the help text that ``--help`` prints and the values that are allowed.

    Args:
        minimum, maximum: of a number, or of every number in a list; a key that holds numbers requires both.
        length: of a list; None: 1 to ``MOST_NUMBERS``.
        path: a path, in which ``~`` and environment variables are replaced; in a dictionary, each entry is one.
    """
    metadata = {
        "help": text,
        "choices": choices,
        "minimum": minimum,
        "maximum": maximum,
        "length": length,
        "path": path,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class Data:
    root: str = option("data/vitonhd", "folder that holds train/, test/ and the pair lists (data/README.md)", path=True)


@dataclass
class SplitData(Data):
    validation_pairs: int = option(
        1000,
        "at least so many pairs of train_pairs.txt are held out where the authors' lists are not there (paper §4.1)",
        minimum=0,
        maximum=MANY,
    )
    split_seed: int = option(0, "seed for that draw", minimum=0, maximum=LARGEST_SEED)
    height: int = option(
        512,
        "height of every picture, pixels; a multiple of VAE stride × deepest latent stride",
        minimum=8,
        maximum=LARGEST_SIDE,
    )
    width: int = option(384, "width of every picture, pixels", minimum=8, maximum=LARGEST_SIDE)


@dataclass
class HeldOutData(SplitData):
    split: str = option("test", "split whose pairs are used", choices=("train", "validation", "test"))


@dataclass
class SiftData(Data):
    split: str = option("train", "the folder whose pairs are matched", choices=("train", "test"))
    matches_frame: list[int] = option(
        [512, 384], "height and width that SIFT runs on, pixels", minimum=8, length=2, maximum=LARGEST_SIDE
    )


@dataclass
class PictureData(SplitData):
    augment: bool = option(True, "flip, shift, scale, rotate and recolour training pairs")


@dataclass
class TrainData(PictureData):
    matches: str | None = option(None, "folder of correspondences; null: <root>/train/sift_matching", path=True)
    matches_frame: list[int] = option(
        [512, 384],
        "height and width that the matches are measured in, pixels",
        minimum=8,
        length=2,
        maximum=LARGEST_SIDE,
    )


@dataclass
class PreprocessSift:
    """Match each training pair's photo with its garment's picture (paper §3.1)."""

    data: SiftData = field(default_factory=SiftData)
    output: str | None = option(
        None, "folder for the match files; null: <root>/<split's folder>/sift_matching", path=True
    )
    matcher: str = option("sift", "method that finds the matches, before any filter", choices=("sift",))
    preset: str = option(
        "published",
        "filters: the paper's text, or those of the published files",
        choices=("published", "paper"),
    )
    regions: str = option(
        "separate",
        "search torso and arms one by one as published, or at once and sort the matches by where they lie",
        choices=("separate", "joint"),
    )
    workers: int = option(0, "number of processes; 0: one for each core", minimum=0, maximum=WORKERS)
    preview: int = option(12, "pairs to draw with their kept and dropped matches", minimum=0, maximum=MANY)
    strict: bool = option(False, "stop at the first pair that fails, instead of listing it")


@dataclass
class ModelConfig:
    """Sizes of a model trained from scratch; with ``pretrained`` they come from there."""

    pretrained: str | None = option(
        None,
        "what to start from: a saved pipeline's folder, or a published .ckpt or .safetensors; null: from scratch",
        path=True,
    )
    autoencoder: str | None = option(None, "folder of a trained autoencoder; needed without `pretrained`", path=True)
    prediction_type: str = option(
        "epsilon",
        "what the network predicts: the noise ε, as published, or v = √ᾱ·ε − √(1 − ᾱ)·latent (Salimans & Ho 2022)",
        choices=("epsilon", "v_prediction"),
    )
    channels: list[int] = option(
        [320, 640, 1280, 1280], "U-Net channels of each level, finest first", minimum=1, maximum=16384
    )
    blocks_per_level: int = option(2, "residual blocks of each encoder level", minimum=1, maximum=64)
    heads: int = option(8, "attention heads", minimum=1, maximum=1024)
    norm_groups: int = option(32, "groups of the group normalisation", minimum=1, maximum=4096)
    context_width: int = option(768, "width of the image-context token", minimum=1, maximum=65536)
    context_blocks: int = option(
        5, "transformer blocks between CLIP and the image-context token", minimum=0, maximum=1024
    )
    image_width: int = option(1024, "width of the CLIP image encoder", minimum=1, maximum=65536)
    image_layers: int = option(24, "layers of the CLIP image encoder", minimum=1, maximum=1024)
    image_heads: int = option(16, "attention heads of the CLIP image encoder", minimum=1, maximum=1024)
    image_patch: int = option(
        14, "patch of the CLIP image encoder, pixels of its 224×224 input", minimum=1, maximum=224
    )


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


@dataclass
class ExecutionConfig:
    """Where and how the network runs; the result is the same to rounding."""

    dtype: str = option(
        "float32", "number format of weights and activations", choices=("float32", "float16", "bfloat16")
    )
    device: str | None = option(None, "e.g. cuda:0; null: a GPU where there is one")
    compile: bool = option(False, "compile the U-Net and the garment encoder: minutes once, then faster steps")
    channels_last: bool = option(False, "use the channels-last memory layout in convolutions")
    vae_slicing: bool = option(False, "decode one picture at a time: less memory for large batches")
    vae_tiling: bool = option(False, "decode pictures above 512 pixels in overlapping tiles: less memory, small errors")
    offload: bool = option(False, "keep each part in main memory until the GPU needs it")


@dataclass
class Infer:
    """Try garments on persons (paper §4.1: PLMS, 50 steps, guidance 1.5)."""

    checkpoint: str = option(
        "outputs/train/model", "a saved pipeline's folder, or a published .ckpt or .safetensors", path=True
    )
    data: HeldOutData = field(default_factory=HeldOutData)
    setting: str = option("unpaired", "paired: the worn garment; unpaired: the list's", choices=("paired", "unpaired"))
    output: str = option("outputs/infer", "folder for the pictures", path=True)
    limit: int | None = option(None, "use only the first so many pairs; null: all", minimum=1, maximum=MANY)
    scheduler: str = option("PNDMScheduler", "class of diffusers that samples; PNDMScheduler is PLMS")
    steps: int = option(50, "sampling steps; PLMS refuses some numbers above 111", minimum=1, maximum=1000)
    guidance: float = option(1.5, "ε = ε_u + guidance·(ε_c − ε_u); 1: no unconditional pass", minimum=0, maximum=1000)
    start: str = option(
        "agnostic", "latent to start from: the noised agnostic one, or noise", choices=("agnostic", "noise")
    )
    paste_back: bool = option(True, "keep the photo's own pixels where nothing is to be painted")
    seed: int = option(
        0,
        "seed for the noise; each picture's noise is keyed by seed, person and garment",
        minimum=0,
        maximum=LARGEST_SEED,
    )
    batch_size: int = option(4, "pictures at once", minimum=1, maximum=10**6)
    format: str = option("jpg", "format of the pictures; jpg at quality 95", choices=("jpg", "png"))
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    strict: bool = option(False, "stop at the first pair that fails, instead of listing it")


@dataclass
class ConvertCheckpoint:
    """Turn a published checkpoint into a folder of safetensors, or weights back into the published form."""

    input: str = option(
        "checkpoints/sift-vton/model.ckpt", "what to convert; anything that infer.py can load", path=True
    )
    output: str = option(
        "checkpoints/sift-vton/model", "a folder, or for `published` a .ckpt or .safetensors file", path=True
    )
    to: str = option("diffusers", "the form to write", choices=("diffusers", "published"))
    like: str | None = option(
        None,
        "for `published`: a published checkpoint to take the names from, and the tensors that are not ours",
        path=True,
    )


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
class EvaluateToy:
    """Score toy results against the exact rendering: print, colour, the rest of the photo."""

    data: HeldOutData = field(default_factory=HeldOutData)
    predictions: str = option(
        "outputs/infer", "folder of results; png, or the JPEG files' own errors count as changes", path=True
    )
    setting: str = option("unpaired", "setting in which the results were made", choices=("paired", "unpaired"))
    limit: int | None = option(None, "use only the first so many pairs; null: all", minimum=1, maximum=MANY)
    others: int = option(9, "other garments that a print is told from; 0: none, errors alone", minimum=0, maximum=MANY)
    workers: int = option(0, "number of processes; 0: one for each core", minimum=0, maximum=WORKERS)
    seed: int = option(0, "seed for the draw of other garments", minimum=0, maximum=LARGEST_SEED)
    output: str = option("outputs/evaluate_toy", "folder for the tables", path=True)


@dataclass
class AttentionError:
    """Measure how far the hooked layers look from where they should."""

    checkpoint: str = option(
        "outputs/train/model", "a saved pipeline's folder, or a published .ckpt or .safetensors", path=True
    )
    data: HeldOutData = field(default_factory=HeldOutData)
    matches: str | None = option(
        None,
        "folder of correspondences; null: <folder>/exact_map where there is one, else <folder>/sift_matching",
        path=True,
    )
    matches_frame: list[int] = option(
        [512, 384],
        "height and width that the matches are measured in, pixels",
        minimum=8,
        length=2,
        maximum=LARGEST_SIDE,
    )
    layers: str = option("middle", "which hooked layers of each resolution", choices=("middle", "all"))
    timesteps: list[int] = option(
        [50, 150, 250, 350, 450], "noise levels of the photos, of 1000", minimum=0, maximum=999
    )
    limit: int | None = option(None, "use only the first so many pairs; null: all", minimum=1, maximum=MANY)
    batch_size: int = option(4, "pictures at once", minimum=1, maximum=10**6)
    seed: int = option(0, "seed for the noise", minimum=0, maximum=LARGEST_SEED)
    device: str | None = option(None, "e.g. cuda:0; null: a GPU where there is one")
    output: str = option("outputs/attention_error", "folder for the tables and the maps", path=True)


@dataclass
class VisualizeAttention:
    """Draw what points of a photo look at on the garment, for one checkpoint or several (paper Fig. 4)."""

    checkpoints: dict[str, str] = option({}, "checkpoints.<name>=<a folder or a published file>; a row each", path=True)
    data: HeldOutData = field(default_factory=HeldOutData)
    person: str | None = option(None, "id in the split's list; null: the first")
    garment: str | None = option(None, "id of another garment in the split's folder; null: the worn one")
    points: list[int] | None = option(
        None,
        "query points x, y, x, y, … in pixels of data.height × data.width; null: three on the torso",
        minimum=0,
        maximum=LARGEST_SIDE,
    )
    layers: str = option("all", "which hooked layers of each resolution are averaged", choices=("middle", "all"))
    timesteps: list[int] = option(
        [50, 150, 250, 350, 450],
        "noise levels of the photo, of 1000; their attention is averaged",
        minimum=0,
        maximum=999,
    )
    seed: int = option(0, "seed for the noise", minimum=0, maximum=LARGEST_SEED)
    device: str | None = option(None, "e.g. cuda:0; null: a GPU where there is one")
    output: str = option("outputs/figures", "folder for attention.png", path=True)


@dataclass
class CompareResults:
    """Put several methods' results side by side, the torso enlarged below (paper Fig. 3)."""

    data: HeldOutData = field(default_factory=HeldOutData)
    predictions: dict[str, str] = option(
        {}, "predictions.<name>=<folder or path with fields>, as for evaluate.py", path=True
    )
    setting: str = option("unpaired", "setting in which the results were made", choices=("paired", "unpaired"))
    limit: int = option(6, "use only the first so many pairs", minimum=1, maximum=MANY)
    output: str = option("outputs/figures", "folder for comparison.png", path=True)


@dataclass
class VisualizeReference:
    """Draw matches and the reference attention that they give (paper Fig. 2)."""

    data: SiftData = field(default_factory=SiftData)
    matches: str | None = option(
        None, "folder of correspondences; null: <root>/<split's folder>/sift_matching", path=True
    )
    cell: int = option(16, "side of a cell of the layer, pixels of matches_frame", minimum=8, maximum=LARGEST_SIDE)
    limit: int = option(4, "pairs to draw", minimum=1, maximum=MANY)
    output: str = option("outputs/figures", "folder for reference.png", path=True)


@dataclass
class CheckedData(SplitData):
    split: str = option("all", "what to look at; all: train and test", choices=("all", "train", "validation", "test"))
    matches: str | None = option(None, "folder of correspondences; null: <root>/train/sift_matching", path=True)
    matches_frame: list[int] = option(
        [512, 384],
        "height and width that the matches are measured in, pixels",
        minimum=8,
        length=2,
        maximum=LARGEST_SIDE,
    )


@dataclass
class CheckData:
    """Say what is missing or wrong in a data folder, and which script needs it."""

    data: CheckedData = field(default_factory=CheckedData)
    preview: int = option(12, "pairs to draw with mask, DensePose and matches laid over", minimum=0, maximum=MANY)
    output: str = option("outputs/check_data", "folder for the report and the previews", path=True)


@dataclass
class MakeToyData:
    """Write the toy world in VITON-HD's layout."""

    output: str = option("data/toy", "folder to write", path=True)
    train_pairs: int = option(64, "training pairs", minimum=1, maximum=10**6)
    test_pairs: int = option(16, "test pairs", minimum=2, maximum=10**6)
    height: int = option(512, "height of every picture, pixels", minimum=64, maximum=LARGEST_SIDE)
    width: int = option(384, "width of every picture, pixels", minimum=48, maximum=LARGEST_SIDE)
    seed: int = option(0, "seed for the world", minimum=0, maximum=LARGEST_SEED)
    exact_map: bool = option(False, "also write each person-to-garment map")
    workers: int = option(0, "number of processes; 0: one for each core", minimum=0, maximum=WORKERS)


@dataclass
class Experiment:
    """Train arms that differ in one thing, over seeds, and measure them all alike (toy world)."""

    settings: str = option("configs/experiment.yaml", "YAML that the arms' own commands read", path=True)
    data: Data = field(default_factory=Data)
    base_arm: str = option("", "train.py's keys for the arm that others start from; empty: none does")
    arms: dict[str, str] = option(
        {}, "arms.<name>=<train.py's keys>; {base} is the base's weights, {matches} the folder of the match sets"
    )
    reference: str = option("none", "the arm that the others are compared with")
    references: dict[str, str] = option({}, "references.<arm>=<another arm that this one is compared with>")
    seeds: list[int] = option([0, 1, 2], "seeds for training", minimum=0, maximum=LARGEST_SEED)
    split: str = option("test", "split whose pairs they are measured on", choices=("validation", "test"))
    jobs: int = option(0, "arms that are trained and measured side by side; 0: one a core", minimum=0, maximum=WORKERS)
    output: str = option("outputs/experiment", "folder for runs, results and logs", path=True)
    measures: str = option(
        "outputs/experiment/measures", "folder of a small file an arm and seed; those there stay", path=True
    )
    report: str = option(
        "outputs/experiment/results",
        "path of the tables, without .json and .md; a page with lines for them keeps its text",
        path=True,
    )


@dataclass
class Report:
    """Gather what `make demo` made into one page."""

    output: str = option("outputs/demo", "folder that the demo's commands wrote to", path=True)


SCRIPTS: dict[str, type] = {
    "preprocess_sift": PreprocessSift,
    "train": Train,
    "train_autoencoder": TrainAutoencoder,
    "infer": Infer,
    "convert_checkpoint": ConvertCheckpoint,
    "evaluate": Evaluate,
    "evaluate_toy": EvaluateToy,
    "attention_error": AttentionError,
    "visualize_attention": VisualizeAttention,
    "visualize_reference": VisualizeReference,
    "compare_results": CompareResults,
    "experiment": Experiment,
    "check_data": CheckData,
    "make_toy_data": MakeToyData,
    "report": Report,
}


def keys(schema: type, prefix: str = "") -> dict[str, Field[Any]]:
    """Every dotted key of a schema and its dataclass field."""
    found: dict[str, Field[Any]] = {}
    for entry in fields(schema):
        if is_dataclass(entry.type):
            found.update(keys(entry.type, f"{prefix}{entry.name}."))  # type: ignore[arg-type]
        else:
            found[prefix + entry.name] = entry
    return found


def number_kind(kind: Any) -> type | None:
    """``int`` or ``float`` where a key of this type holds a number or a list of numbers; else None."""
    parts = {kind, *get_args(kind), *(inner for part in get_args(kind) for inner in get_args(part))}
    return float if float in parts else int if int in parts else None


def require_ranges(schemas: Iterable[type]) -> None:
    """Raise TypeError for a key that holds numbers and has no finite range, which would let NaN and infinity pass."""
    for schema in schemas:
        for key, entry in keys(schema).items():
            limits = [entry.metadata["minimum"], entry.metadata["maximum"]]
            if number_kind(entry.type) and not all(limit is not None and math.isfinite(limit) for limit in limits):
                raise TypeError(f"{schema.__name__}.{key}: a numeric option requires a finite minimum and maximum")


require_ranges(SCRIPTS.values())
