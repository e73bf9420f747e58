"""The denoising U-Net with hooked cross-attention: the parts of Stable Diffusion 1.x and our own decoder loop."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.unets.unet_2d_blocks import CrossAttnUpBlock2D, UNetMidBlock2DCrossAttn, UpBlock2D
from torch import Tensor, nn
from torch.nn import functional

from siftvton.errors import UsageError
from siftvton.model.encoder import Encoder, time_width
from siftvton.model.few_cells import convolve_few_cells
from siftvton.model.garment_attention import GarmentAttention
from siftvton.model.single_token import attend_to_single_token


class TryOnUNet(ModelMixin, ConfigMixin):
    """Predicts ε from the noisy latent, the agnostic latent, the keep-mask, the DensePose latent and the garment.

    Before each decoder block, except those of the deepest level, a :class:`GarmentAttention` adds what it reads from
    the garment feature of the same resolution.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        in_channels: int = 13,
        latent_channels: int = 4,
        channels: Sequence[int] = (320, 640, 1280, 1280),
        blocks_per_level: int = 2,
        heads: int = 8,
        norm_groups: int = 32,
        context_width: int = 768,
    ) -> None:
        """
        Args:
            in_channels: channels of three latents and the keep-mask.
            channels: channels of each level, finest first; each level has half the size of the one before. All levels
                except the last attend to the context and to the garment.
            blocks_per_level: residual blocks in each encoder level; a decoder level has one more.
            context_width: width of the image-context token.
        """
        super().__init__()
        self.encoder = Encoder(
            in_channels, channels, blocks_per_level, heads, norm_groups, context_width, attention_only=False
        )
        self.mid_block = UNetMidBlock2DCrossAttn(
            in_channels=channels[-1],
            temb_channels=time_width(channels),
            resnet_eps=1e-5,
            resnet_groups=norm_groups,
            num_attention_heads=heads,
            cross_attention_dim=context_width,
        )
        self.up_blocks = nn.ModuleList()
        self.garment_attention = nn.ModuleList()
        reverse = list(reversed(channels))
        for level, width in enumerate(reverse):
            finer = reverse[min(level + 1, len(reverse) - 1)]
            sizes = {
                "in_channels": finer,
                "out_channels": width,
                "prev_output_channel": reverse[max(level - 1, 0)],
                "temb_channels": time_width(channels),
                "num_layers": blocks_per_level + 1,
                "resnet_groups": norm_groups,
                "resnet_eps": 1e-5,
                "add_upsample": level < len(reverse) - 1,
            }
            if level == 0:
                self.up_blocks.append(UpBlock2D(**sizes))
                continue
            self.up_blocks.append(
                CrossAttnUpBlock2D(**sizes, num_attention_heads=heads, cross_attention_dim=context_width)
            )
            queries = [reverse[level - 1]] + [width] * blocks_per_level
            keys = [width] * blocks_per_level + [finer]
            self.garment_attention.extend(
                GarmentAttention(query, key, heads, norm_groups) for query, key in zip(queries, keys, strict=True)
            )
        self.gradient_checkpointing = False
        self.conv_norm_out = nn.GroupNorm(norm_groups, channels[0], eps=1e-5)
        self.conv_out = nn.Conv2d(channels[0], latent_channels, kernel_size=3, padding=1)
        for part in (self.mid_block, self.up_blocks):
            attend_to_single_token(part)
        convolve_few_cells(self)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        context: Tensor,
        garment: Sequence[Tensor] = (),
        garment_scale: Tensor | None = None,
    ) -> Tensor:
        """Predict the noise.

        Args:
            sample: (B, 13, h, w): noisy latent 4, agnostic latent 4, keep-mask 1, DensePose latent 4.
            timestep: (B,).
            context: (B, 1, context width).
            garment: the garment encoder's features, finest first, of the first B' ≤ B images. The other images get
                no garment, as in the unconditional pass of guidance. Empty: no image gets one.
            garment_scale: (B',) a factor on what the garment adds; 0 drops the conditioning of an image.

        Returns:
            (B, 4, h, w).
        """
        skips, time = self.encoder(sample, timestep, context)
        hidden = self.mid_block(skips[-1], time, encoder_hidden_states=context)
        hooks, features = iter(self.garment_attention), list(garment)
        block: Any
        for block in self.up_blocks:
            attends = hasattr(block, "attentions")
            for index, resnet in enumerate(block.resnets):
                if attends and garment:
                    hidden = next(hooks)(hidden, features.pop(), garment_scale)
                hidden = torch.cat([hidden, skips.pop()], dim=1)
                if torch.is_grad_enabled() and self.gradient_checkpointing:
                    hidden = self._gradient_checkpointing_func(resnet, hidden, time)
                else:
                    hidden = resnet(hidden, time)
                if attends:
                    hidden = block.attentions[index](hidden, encoder_hidden_states=context, return_dict=False)[0]
            if block.upsamplers is not None:
                hidden = block.upsamplers[0](hidden)
        assert not skips
        assert not features, "there must be one garment feature for each hooked layer"
        return self.conv_out(functional.silu(self.conv_norm_out(hidden)))

    def hooked_layers(self, which: str) -> list[str]:
        """Names of the hooked layers' cross-attentions, coarsest first.

        Args:
            which: ``all``; or ``middle``, the middle one of each resolution (1, 4 and 7 of 0…8 in the full model).
        """
        per_level = self.config.blocks_per_level + 1
        chosen = range(len(self.garment_attention))
        if which == "middle":
            chosen = chosen[per_level // 2 :: per_level]
        return [f"garment_attention.{index}.transformer.transformer_blocks.0.attn2" for index in chosen]

    def hooked_strides(self, which: str) -> dict[int, list[str]]:
        """Names of the hooked layers' cross-attentions, as in :meth:`hooked_layers`, by their latent stride."""
        per_level = self.config.blocks_per_level + 1
        levels = len(self.garment_attention) // per_level
        strides: dict[int, list[str]] = {}
        for layer in self.hooked_layers(which):
            level = levels - 1 - int(layer.split(".")[1]) // per_level
            strides.setdefault(2**level, []).append(layer)
        return strides

    def variation_layer(self) -> str:
        """Name of the middle hooked cross-attention at latent stride 2, which ATV regularises.

        Raises:
            UsageError: no hooked layer has this stride.
        """
        layers = self.hooked_strides("middle").get(2)
        if layers is None:
            raise UsageError(
                f"supervision.atv_weight requires attention at latent stride 2, but a network with channels="
                f"{list(self.config.channels)} has none; use three levels or more, or set supervision.atv_weight=0"
            )
        return layers[0]
