"""The interface that training requires of a network, and the network of Fig. 1, which implements it.

Letters: B images, h × w latent cells.
"""

from abc import ABC, abstractmethod

import torch
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from transformers import CLIPVisionModel
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from siftvton.model.garment_attention import GarmentAttention
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.image_context import ImageContext
from siftvton.model.inputs import clip_constants, clip_pixels
from siftvton.model.unet import TryOnUNet


class SupervisedNetwork(nn.Module, ABC):
    """A noise prediction network with supervised garment cross-attention, as training and evaluation use it.

    To use another base network, write another subclass.

    Attributes:
        finetuned: name prefixes of the parameters that fine-tuning trains.
        blocks: classes of the modules that are compiled, or gathered from all processes, as a whole. A parameter of
            such a module may be used only inside the module's own call.
    """

    finetuned: tuple[str, ...]
    blocks: tuple[type[nn.Module], ...] = ()

    @property
    @abstractmethod
    def hooked(self) -> nn.Module:
        """The module that holds the hooked layers; their names are relative to it."""

    @abstractmethod
    def hooked_layers(self, which: str) -> list[str]:
        """Names of the hooked cross-attentions: ``all`` of them, or the ``middle`` one of each resolution."""

    @abstractmethod
    def hooked_strides(self, which: str) -> dict[int, list[str]]:
        """The names of :meth:`hooked_layers` by their latent stride."""

    @abstractmethod
    def variation_layer(self) -> str:
        """Name of the hooked cross-attention that attention total variation regularises.

        Raises:
            UsageError: the network has no such layer.
        """

    @abstractmethod
    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass."""

    @abstractmethod
    def forward(
        self, sample: Tensor, timestep: Tensor, garment_latent: Tensor, garment_224: Tensor, conditioned: Tensor
    ) -> Tensor:
        """Predict the noise, ε or v.

        Args:
            sample: (B, 13, h, w), see :class:`TryOnUNet`. timestep: (B,). garment_latent: (B, 4, h, w).
            garment_224: (B, 3, 224, 224) in [−1, 1].
            conditioned: (B,) bool; False drops the conditioning of an image: a learned vector replaces its image
                token, and its garment has no effect. This is the unconditional pass of guidance.

        Returns:
            The prediction (B, 4, h, w).
        """


class TryOnNetwork(SupervisedNetwork):
    """StableVITON's network as trained in the paper: U-Net, garment encoder, image context."""

    # StableVITON and the paper train the garment encoder, the decoder, the first convolution and the hooked layers
    # with their zero convolutions.
    finetuned = (
        "garment_encoder.",
        "unet.encoder.conv_in.",
        "unet.up_blocks.",
        "unet.garment_attention.",
        "unet.conv_norm_out.",
        "unet.conv_out.",
    )
    # The decoder calls the parts of diffusers' decoder blocks one by one, so these parts are the blocks.
    blocks = (GarmentAttention, Transformer2DModel, ResnetBlock2D, CLIPEncoderLayer)

    def __init__(
        self,
        image_encoder: CLIPVisionModel,
        image_context: ImageContext,
        garment_encoder: GarmentEncoder,
        unet: TryOnUNet,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.image_context = image_context
        self.garment_encoder = garment_encoder
        self.unet = unet
        # A buffer, since training would otherwise send these numbers to the GPU in every step.
        self.clip_constants: Tensor
        self.register_buffer("clip_constants", clip_constants(image_encoder.device), persistent=False)

    @property
    def hooked(self) -> nn.Module:
        return self.unet

    def hooked_layers(self, which: str) -> list[str]:
        return self.unet.hooked_layers(which)

    def hooked_strides(self, which: str) -> dict[int, list[str]]:
        return self.unet.hooked_strides(which)

    def variation_layer(self) -> str:
        return self.unet.variation_layer()

    def enable_gradient_checkpointing(self) -> None:
        self.unet.enable_gradient_checkpointing()
        self.garment_encoder.enable_gradient_checkpointing()

    def forward(
        self, sample: Tensor, timestep: Tensor, garment_latent: Tensor, garment_224: Tensor, conditioned: Tensor
    ) -> Tensor:
        token = self.image_context(self.image_encoder(clip_pixels(garment_224, self.clip_constants)).pooler_output)
        context = torch.where(conditioned.view(-1, 1, 1), token, self.image_context.unconditional.to(token.dtype))
        garment = self.garment_encoder(sample, garment_latent, timestep, context)
        return self.unet(sample, timestep, context, garment, garment_scale=conditioned)
