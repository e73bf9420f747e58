"""Supervise Stable Diffusion 3: one picture whose upper half is the person and whose lower half is the garment."""

import numpy as np
import torch
from diffusers import SD3Transformer2DModel

from siftvton.correspondence import Correspondences
from siftvton.supervision import ReferenceAttention, supervise

torch.manual_seed(0)
# Tiny; in real use, from_pretrained(a checkpoint, subfolder="transformer").
SIZES = {"sample_size": 64, "in_channels": 4, "out_channels": 4, "num_layers": 2, "num_attention_heads": 2}
SIZES |= {"attention_head_dim": 16, "joint_attention_dim": 32, "caption_projection_dim": 32}
transformer = SD3Transformer2DModel(**SIZES, pooled_projection_dim=32, qk_norm="rms_norm")

person, garment, noise = torch.randn(3, 1, 4, 32, 24)  # latents of pictures with 256 × 192 pixels
time = 0.3
noisy = (1 - time) * person + time * noise
matches = Correspondences(person=np.array([[90.0, 112.0]]), garment=np.array([[93.0, 97.0]]), frame=(256, 192))
with supervise(transformer, ReferenceAttention.from_correspondences([matches])) as recorder:
    prediction = transformer(
        hidden_states=torch.cat([noisy, garment], dim=2),  # (1, 4, 64, 24); the garment stays clean
        encoder_hidden_states=torch.randn(1, 8, 32),  # of the text
        pooled_projections=torch.randn(1, 32),
        timestep=torch.tensor([1000 * time]),
    ).sample[:, :, :32]
    flow_loss = (prediction - (noise - person)).square().mean()
    loss = flow_loss + 0.0005 * recorder.loss().mean()  # λ = 0.0005
    loss.backward()
