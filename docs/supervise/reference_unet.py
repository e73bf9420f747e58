"""Supervise an SDXL U-Net whose self-attention also reads a reference U-Net's hidden states, as in IDM-VTON."""

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0

from siftvton.correspondence import Correspondences
from siftvton.supervision import ReferenceAttention, supervise

torch.manual_seed(0)
SIZES = {"block_out_channels": (32, 64), "cross_attention_dim": 32, "transformer_layers_per_block": 2}
SIZES |= {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": 2}
SIZES |= {"up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "addition_embed_type": "text_time"}
SIZES |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 80}  # all tiny
unet, garment_unet = (UNet2DConditionModel(**SIZES) for _ in range(2))  # in real use, from_pretrained(…)
states = {}  # the garment's hidden states of each self-attention layer


class ReadGarment(AttnProcessor2_0):
    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        both = torch.cat([hidden_states, states[self.name]], dim=1)  # keys and values of both pictures
        return super().__call__(attn, hidden_states, both, attention_mask, temb)


layers = [name for name, _ in unet.named_modules() if name.endswith("attn1")]
for name in layers:
    unet.get_submodule(name).set_processor(processor := ReadGarment())
    processor.name = name
    watched = garment_unet.get_submodule(name)
    watched.register_forward_pre_hook(lambda _, given, name=name: states.update({name: given[0]}))
noisy, garment, noise = torch.randn(3, 1, 4, 32, 24)  # latents of pictures with 256 × 192 pixels
text = {"encoder_hidden_states": torch.randn(1, 8, 32)}
text["added_cond_kwargs"] = {"text_embeds": torch.randn(1, 32), "time_ids": torch.randn(1, 6)}
matches = Correspondences(person=np.array([[90.0, 112.0]]), garment=np.array([[93.0, 97.0]]), frame=(256, 192))
with supervise(unet, ReferenceAttention.from_correspondences([matches]), layers) as recorder:
    garment_unet(garment, 0, **text)
    noise_loss = (unet(noisy, 300, **text).sample - noise).square().mean()
    loss = noise_loss + 0.0005 * recorder.loss().mean()  # λ = 0.0005
    loss.backward()
