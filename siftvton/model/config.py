"""Configuration keys for the model's weights and sizes."""

from dataclasses import dataclass

from siftvton.options import option


@dataclass
class ModelConfig:
    """The weights to start from, or the sizes of a model that is trained from random weights."""

    pretrained: str | None = option(
        None,
        "weights to start from, which also set all sizes: a saved pipeline's folder, a published .ckpt or .safetensors "
        "file, or a Hugging Face repository; null: random weights",
        path=True,
    )
    autoencoder: str | None = option(
        None,
        "autoencoder to use in place of that of `pretrained`: a folder that diffusers wrote (AutoencoderKL or "
        "AutoencoderTiny), a .ckpt or .safetensors file such as StableVITON's VITONHD_VAE_finetuning.ckpt, or a "
        "Hugging Face repository; null: that of `pretrained`; required if `pretrained` is null",
        path=True,
    )
    prediction_type: str = option(
        "epsilon",
        "what the network predicts: the noise ε, as published, or v = √ᾱ·ε − √(1 − ᾱ)·latent (Salimans & Ho 2022)",
        choices=("epsilon", "v_prediction"),
    )
    channels: list[int] = option(
        [320, 640, 1280, 1280], "number of channels in each U-Net level, finest level first", minimum=1, maximum=16384
    )
    blocks_per_level: int = option(
        2, "number of residual blocks in each level of the U-Net's encoder", minimum=1, maximum=64
    )
    heads: int = option(8, "number of attention heads in the U-Net", minimum=1, maximum=1024)
    norm_groups: int = option(32, "number of groups in the U-Net's group normalisation", minimum=1, maximum=4096)
    context_width: int = option(768, "number of channels of the image-context token", minimum=1, maximum=65536)
    context_blocks: int = option(
        5, "number of transformer blocks between CLIP and the image-context token", minimum=0, maximum=1024
    )
    image_width: int = option(1024, "number of channels in the CLIP image encoder", minimum=1, maximum=65536)
    image_layers: int = option(24, "number of layers in the CLIP image encoder", minimum=1, maximum=1024)
    image_heads: int = option(16, "number of attention heads in the CLIP image encoder", minimum=1, maximum=1024)
    image_patch: int = option(
        14, "side of the CLIP image encoder's patches, in pixels of its 224×224 input", minimum=1, maximum=224
    )
