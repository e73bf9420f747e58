"""Training relies on ``SupervisedNetwork`` alone: another network, with one hooked layer, trains as well."""

import torch
from diffusers.models.attention_processor import Attention
from examples import random_matches
from torch import Tensor, nn

from siftvton.data.dataset import TryOnBatch
from siftvton.data.pairs import Pair
from siftvton.model import build
from siftvton.model.inputs import Noised
from siftvton.model.network import SupervisedNetwork
from siftvton.training.config import SupervisionConfig
from siftvton.training.state import select_trainable
from siftvton.training.step import step_losses

SIZE = (64, 48)  # of the pictures; the latents have 16 × 12 cells


class OneLayer(SupervisedNetwork):
    finetuned = ("look.",)

    def __init__(self) -> None:
        super().__init__()
        self.queries, self.keys = nn.Conv2d(13, 8, 1), nn.Conv2d(4, 8, 1)
        self.look = Attention(query_dim=8, cross_attention_dim=8, heads=2, dim_head=4)
        self.out = nn.Conv2d(8, 4, 1)

    @property
    def hooked(self) -> nn.Module:
        return self

    def hooked_layers(self, which: str) -> list[str]:
        return ["look"]

    def hooked_strides(self, which: str) -> dict[int, list[str]]:
        return {1: ["look"]}

    def variation_layer(self) -> str:
        return "look"

    def enable_gradient_checkpointing(self) -> None:
        """There is nothing to recompute."""

    def forward(
        self, sample: Tensor, timestep: Tensor, garment_latent: Tensor, garment_224: Tensor, conditioned: Tensor
    ) -> Tensor:
        tokens = self.queries(sample).flatten(2).transpose(1, 2)
        garment = self.keys(garment_latent).flatten(2).transpose(1, 2)
        seen = self.look(tokens, encoder_hidden_states=garment) * conditioned.view(-1, 1, 1)
        return self.out((tokens + seen).transpose(1, 2).unflatten(2, sample.shape[-2:]))


def batch() -> TryOnBatch:
    picture = torch.zeros(2, 3, *SIZE)
    return TryOnBatch(
        image=picture, agnostic=picture, densepose=picture, keep_mask=picture[:, :1], garment=picture,
        worn_mask=torch.ones(2, 1, *SIZE),
        matches=[random_matches(8, SIZE, seed) for seed in (0, 1)], pair=[Pair("a.jpg", "a.jpg")] * 2, key=[(0, 0)] * 2,
    )  # fmt: skip


def test_another_network_is_supervised_through_its_hooked_layer():
    torch.manual_seed(0)
    network = OneLayer()
    assert len(select_trainable(network, "finetune")) == len(list(network.look.parameters()))
    cells = SIZE[0] // 4, SIZE[1] // 4
    inputs = Noised(
        sample=torch.randn(2, 13, *cells),
        target=torch.randn(2, 4, *cells),
        garment_latent=torch.randn(2, 4, *cells),
        timestep=torch.tensor([10, 20]),
        conditioned=torch.tensor([True, False]),
    )
    config = SupervisionConfig(weight=1.0, atv_weight=0.1)
    with step_losses(network, network, build.scheduler(), batch(), inputs, config, 5.0) as losses:
        losses.total.mean().backward()
    sift, atv = losses.attention["sift"], losses.attention["atv"]
    assert sift[0] > 0
    assert sift[1] == 0  # its conditioning was dropped
    assert atv[0] > 0
    assert atv[1] == 0
    assert losses.sift_at[1].equal(sift)
    assert network.look.to_q.weight.grad.abs().max() > 0
