"""Supervise FLUX Kontext: its tokens are the text's, the noisy picture's, then the garment's."""

import numpy as np
import torch
from diffusers import FluxTransformer2DModel

from siftvton.correspondence import Correspondences
from siftvton.supervision import ReferenceAttention, supervise

torch.manual_seed(0)
# Tiny; in real use, from_pretrained(a Kontext checkpoint, subfolder="transformer").
SIZES = {"in_channels": 16, "num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2, "attention_head_dim": 16}
SIZES |= {"axes_dims_rope": (4, 6, 6), "joint_attention_dim": 32, "pooled_projection_dim": 32}
transformer = FluxTransformer2DModel(**SIZES)


def tokens(latent: torch.Tensor) -> torch.Tensor:
    """(B, 4, h, w) -> (B, h/2 · w/2, 16): a token has 2 × 2 cells of the latent."""
    return torch.nn.functional.pixel_unshuffle(latent, 2).flatten(2).transpose(1, 2)


person, garment, noise = map(tokens, torch.randn(3, 1, 4, 32, 24))  # latents of pictures with 256 × 192 pixels
time = 0.3
noisy = (1 - time) * person + time * noise
# (picture, row, column) of each token; picture 1 is the garment.
ids = torch.cartesian_prod(torch.arange(2.0), torch.arange(16.0), torch.arange(12.0))
matches = Correspondences(person=np.array([[90.0, 112.0]]), garment=np.array([[93.0, 97.0]]), frame=(256, 192))
with supervise(transformer, ReferenceAttention.from_correspondences([matches])) as recorder:
    prediction = transformer(
        hidden_states=torch.cat([noisy, garment], dim=1),
        encoder_hidden_states=torch.randn(1, 8, 32),  # of the text
        pooled_projections=torch.randn(1, 32),
        timestep=torch.tensor([time]),
        img_ids=ids,
        txt_ids=torch.zeros(8, 3),
    ).sample[:, : noisy.shape[1]]
    flow_loss = (prediction - (noise - person)).square().mean()
    loss = flow_loss + 0.0005 * recorder.loss().mean()  # λ = 0.0005
    loss.backward()
