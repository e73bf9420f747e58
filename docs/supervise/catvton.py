"""Supervise CatVTON: an inpainting U-Net of Stable Diffusion 1.5, the garment's latent below the person's."""

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock

from siftvton.correspondence import Correspondences
from siftvton.supervision import ReferenceAttention, supervise

torch.manual_seed(0)
unet = UNet2DConditionModel(  # tiny; in real use, from_pretrained(an inpainting checkpoint, subfolder="unet")
    in_channels=9,  # 4 of the noisy latent, 1 of the mask, 4 of the masked latent
    block_out_channels=(32, 64),
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
)
for block in unet.modules():
    if isinstance(block, BasicTransformerBlock):
        block.attn2 = None  # CatVTON has no text; what is left is self-attention over both pictures
scheduler = DDPMScheduler()

person, agnostic, garment = torch.randn(3, 1, 4, 32, 24)  # latents of pictures with 256 × 192 pixels
mask = torch.ones(1, 1, 32, 24)  # 1 where the picture is painted
matches = Correspondences(person=np.array([[90.0, 112.0]]), garment=np.array([[93.0, 97.0]]), frame=(256, 192))
reference = ReferenceAttention.from_correspondences([matches])

clean = torch.cat([person, garment], dim=2)  # (1, 4, 64, 24)
given = torch.cat([torch.cat([mask, 0 * mask], dim=2), torch.cat([agnostic, garment], dim=2)], dim=1)
noise, timestep = torch.randn_like(clean), torch.tensor([300])
noisy = scheduler.add_noise(clean, noise, timestep)

# The garment can also be at the right: layers={name: Concatenated("right", frame=(256, 192)), …}.
with supervise(unet, reference) as recorder:
    prediction = unet(torch.cat([noisy, given], dim=1), timestep, encoder_hidden_states=None).sample
    noise_loss = (prediction - noise).square().mean()
    loss = noise_loss + 0.0005 * recorder.loss().mean()  # λ = 0.0005
    loss.backward()
