"""The configuration keys of a model's sizes."""

from dataclasses import dataclass

from siftvton.options import option


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
