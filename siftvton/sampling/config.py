"""The configuration keys that say how results are sampled, and where and how the network runs."""

from dataclasses import dataclass

from siftvton.options import LARGEST_SEED, option


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
class SamplingConfig:
    """How results are sampled (paper §4.1: PLMS, 50 steps, guidance 1.5)."""

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
