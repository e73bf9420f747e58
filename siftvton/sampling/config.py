"""Configuration keys for sampling, and for where and how the network runs."""

from dataclasses import dataclass, fields

from siftvton.options import LARGEST_SEED, option


@dataclass
class ExecutionConfig:
    """Where and how the network runs; apart from ``dtype`` and ``vae_tiling``, results differ only by rounding."""

    dtype: str = option(
        "auto",
        "number format of weights and activations; auto: bfloat16 on a GPU that computes in it, else float32",
        choices=("auto", "float32", "float16", "bfloat16"),
    )
    device: str | None = option(None, "device to run on, e.g. cuda:0 or cpu; null: the GPU if there is one")
    compile: bool = option(
        False, "compile the U-Net and the garment encoder: the first batch takes minutes, later steps are faster"
    )
    channels_last: bool = option(False, "use the channels-last memory layout in convolutions")
    vae_slicing: bool = option(False, "decode one picture at a time, which saves memory in large batches")
    vae_tiling: bool = option(
        False, "decode pictures above 512 pixels in overlapping tiles, which saves memory and causes small errors"
    )
    offload: bool = option(False, "keep each part of the network in main memory until the GPU needs it")


@dataclass
class WeightChanges:
    """What changes in the weights of a checkpoint after it is loaded."""

    autoencoder: str | None = option(
        None,
        "folder or file of an autoencoder to use in place of that of the checkpoint, as model.autoencoder of train; "
        "a tiny one (AutoencoderTiny) gives quick previews; null: that of the checkpoint",
        path=True,
    )
    lora: str | None = option(
        None,
        "folder of updates to add to the weights, as train.trainable=lora writes it to <output>/model_lora; null: none",
        path=True,
    )
    lora_weight: float = option(
        1.0, "factor on the updates; 0: none of them; 1: as trained; unused if `lora` is null", minimum=-10, maximum=10
    )


@dataclass
class SamplingConfig:
    """How results are sampled (paper §4.1: PLMS, 50 steps, guidance 1.5)."""

    scheduler: str = option("PNDMScheduler", "diffusers class of the sampler; PNDMScheduler is PLMS")
    steps: int = option(
        50, "number of sampling steps; PLMS does not allow every number above 111", minimum=1, maximum=1000
    )
    guidance: float = option(
        1.5,
        "strength of classifier-free guidance, ε = ε_u + guidance·(ε_c − ε_u); 1: no guidance, one pass per step",
        minimum=0,
        maximum=1000,
    )
    start: str = option(
        "agnostic",
        "latent that sampling starts from; agnostic: the agnostic picture's with noise added; noise: noise alone",
        choices=("agnostic", "noise"),
    )
    paste_back: bool = option(True, "copy the photo's pixels into the result where the mask says to keep them")
    seed: int = option(
        0,
        "seed for the noise; the noise of a picture depends on seed, person and garment alone",
        minimum=0,
        maximum=LARGEST_SEED,
    )

    def alone(self) -> "SamplingConfig":
        """Return these keys alone, without those that a command adds."""
        return SamplingConfig(**{entry.name: getattr(self, entry.name) for entry in fields(SamplingConfig)})
