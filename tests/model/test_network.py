"""The parts of the network against simpler forms of the same computation."""

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from examples import given
from torch import nn

from siftvton.model import build
from siftvton.model.config import ModelConfig
from siftvton.model.image_context import ImageContext
from siftvton.model.inputs import clip_pixels, draw_latents, keep_mask_at
from siftvton.model.network import TryOnNetwork
from siftvton.model.single_token import SingleTokenProcessor, unused_parameters
from siftvton.model.unet import TryOnUNet


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return {
        "sample": torch.randn(3, 13, 16, 12),
        "timestep": torch.tensor([1, 500, 999]),
        "context": torch.randn(3, 1, 16),
    }


def features(pipeline, inputs, images: int = 3):
    given = {name: value[:images] for name, value in inputs.items()}
    torch.manual_seed(2)
    latent = torch.randn(3, 4, 16, 12)[:images]
    return pipeline.garment_encoder(given["sample"], latent, given["timestep"], given["context"])


def test_one_token_shortcut_equals_full_attention(pipeline, inputs):
    unet: TryOnUNet = pipeline.unet
    shortcut = unet(**inputs, garment=features(pipeline, inputs))
    replaced = 0
    for module in unet.modules():
        if isinstance(getattr(module, "processor", None), SingleTokenProcessor):
            module.set_processor(AttnProcessor2_0())
            replaced += 1
    assert replaced == 4 + 1 + 6  # two levels of two blocks, the middle, two levels of three
    torch.testing.assert_close(unet(**inputs, garment=features(pipeline, inputs)), shortcut, rtol=1e-4, atol=1e-5)


def test_unused_parameters_have_no_gradient_and_all_others_have_one(pipeline, inputs):
    network = TryOnNetwork(**{n: p for n, p in pipeline.components.items() if n not in ("vae", "scheduler")})
    keep = torch.tensor([True, True, False])
    output = network(inputs["sample"], inputs["timestep"], torch.randn(3, 4, 16, 12), torch.randn(3, 3, 224, 224), keep)
    output.square().mean().backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without == unused_parameters(network)
    assert without


def test_garments_of_the_first_images_only(pipeline, inputs):
    """In guidance, the images without a garment are the unconditional pass."""
    unet = pipeline.unet
    dressed = unet(**inputs, garment=features(pipeline, inputs))
    bare = unet(**inputs)
    partly = unet(**inputs, garment=features(pipeline, inputs, images=2))
    torch.testing.assert_close(partly[:2], dressed[:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(partly[2:], bare[2:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(dressed[2:], bare[2:], atol=1e-3)


def test_a_dropped_image_is_the_unconditional_pass(pipeline, inputs):
    network = TryOnNetwork(**{n: p for n, p in pipeline.components.items() if n not in ("vae", "scheduler")})
    garment, pixels = torch.randn(3, 4, 16, 12), torch.randn(3, 3, 224, 224)
    keep = torch.tensor([True, False, True])
    output = network(inputs["sample"], inputs["timestep"], garment, pixels, keep)
    learned = network.image_context.unconditional.expand(3, 1, -1)
    bare = network.unet(inputs["sample"], inputs["timestep"], learned)
    torch.testing.assert_close(output[1], bare[1], rtol=1e-4, atol=1e-5)
    kept = network(inputs["sample"], inputs["timestep"], garment, pixels, torch.ones(3, dtype=torch.bool))
    torch.testing.assert_close(output[[0, 2]], kept[[0, 2]], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(output[1], kept[1], atol=1e-3)


def test_gradient_checkpointing_changes_no_gradient(pipeline, inputs):
    def gradients() -> list[torch.Tensor | None]:
        pipeline.unet.zero_grad()
        pipeline.unet(**inputs, garment=features(pipeline, inputs)).square().mean().backward()
        return [parameter.grad for parameter in pipeline.unet.parameters()]

    plain = gradients()
    pipeline.unet.enable_gradient_checkpointing()
    pipeline.garment_encoder.enable_gradient_checkpointing()
    for found, expected in zip(gradients(), plain, strict=True):
        if expected is not None:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_fresh_network_adds_nothing_of_the_garment(sizes: ModelConfig, inputs):
    """Because of the zero convolutions, training starts from the output of the U-Net alone."""
    unet = build.network_parts(sizes)["unet"]
    channels = [16, 16, 16, 16, 32, 32]
    grids = [(16, 12)] * 3 + [(8, 6)] * 3
    garment = [torch.randn(3, c, *grid) for c, grid in zip(channels, grids, strict=True)]
    assert torch.equal(unet(**inputs, garment=garment), unet(**inputs))


def test_hooks_and_garment_features_meet_in_order(inputs):
    """All widths are equal, so only the order is tested and not the channels."""
    torch.manual_seed(0)
    unet = TryOnUNet(channels=[16, 16, 16], heads=2, norm_groups=8, context_width=16)
    met = []
    for place, hook in enumerate(unet.garment_attention):
        hook.register_forward_pre_hook(lambda _, args, place=place: met.append((place, int(args[1].flatten()[0]))))
    grids = [(16, 12)] * 3 + [(8, 6)] * 3
    unet(**inputs, garment=[torch.full((3, 16, *grid), float(n)) for n, grid in enumerate(grids)])
    assert met == [(0, 5), (1, 4), (2, 3), (3, 2), (4, 1), (5, 0)]


@pytest.mark.parametrize(("channels", "hooked", "middle"), [([32, 32, 32], 6, [1, 4]), ([32] * 4, 9, [1, 4, 7])])
def test_all_levels_except_the_deepest_have_hooked_layers(channels: list[int], hooked: int, middle: list[int]):
    unet = TryOnUNet(channels=channels, heads=2, context_width=8)
    assert len(unet.hooked_layers("all")) == hooked
    assert unet.hooked_layers("middle") == [unet.hooked_layers("all")[n] for n in middle]
    assert unet.variation_layer() == unet.hooked_layers("all")[middle[-2]]
    modules = dict(unet.named_modules())
    assert all(name in modules for name in unet.hooked_layers("all"))


def test_image_context_equals_a_transformer_on_one_token():
    torch.manual_seed(0)
    context = ImageContext(width=16, depth=2, context_width=8)
    plain = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(
            16, nhead=1, dim_feedforward=64, dropout=0, activation="gelu", norm_first=True, batch_first=True
        ),
        num_layers=2,
        enable_nested_tensor=False,
    )
    for ours, theirs in zip(context.blocks, plain.layers, strict=True):
        theirs.self_attn.in_proj_weight.data[32:] = ours.value.weight.data
        theirs.self_attn.in_proj_bias.data[32:] = ours.value.bias.data
        theirs.self_attn.out_proj.load_state_dict(ours.out.state_dict())
        theirs.norm1.load_state_dict(ours.norm1.state_dict())
        theirs.norm2.load_state_dict(ours.norm2.state_dict())
        theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward[2].state_dict())
    pooled = torch.randn(3, 16)
    expected = context.projection(context.norm(plain(pooled.unsqueeze(1))))
    torch.testing.assert_close(context(pooled), expected, rtol=1e-4, atol=1e-5)


def test_clip_pixels_pinned():
    """−1 and 1 are black and white: (0 − mean)/std and (1 − mean)/std, in RGB order."""
    black, white = clip_pixels(torch.full((1, 3, 1, 1), -1.0)), clip_pixels(torch.ones(1, 3, 1, 1))
    assert black.flatten().tolist() == pytest.approx([-1.79226, -1.75209, -1.48022], abs=1e-4)
    assert white.flatten().tolist() == pytest.approx([1.93034, 2.07488, 2.14588], abs=1e-4)


def test_the_constants_of_clip_are_made_once_and_are_in_no_file(pipeline, monkeypatch: pytest.MonkeyPatch):
    network = pipeline.network()
    assert not any("clip_constants" in name for name in network.state_dict())
    pictures = given(2)["garment_224"]
    expected = network.image_encoder(clip_pixels(pictures)).pooler_output
    monkeypatch.setattr("siftvton.model.inputs.clip_constants", lambda device: pytest.fail("made again"))
    found = network.image_encoder(clip_pixels(pictures, network.clip_constants)).pooler_output
    assert torch.equal(found, expected)
    inputs = torch.randn(2, 13, 8, 12), torch.tensor([3, 700]), torch.randn(2, 4, 8, 12), pictures
    assert network(*inputs, torch.tensor([True, False])).isfinite().all()


def test_keep_mask_is_averaged_over_a_latent_cell():
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 11:] = 1
    small = keep_mask_at(mask, (2, 2))
    assert small.shape == (1, 1, 2, 2)
    assert small[0, 0, 0].tolist() == pytest.approx([0.0089, 0.5625], abs=1e-4)


def test_a_posterior_draw_depends_only_on_its_own_generator(pipeline):
    pictures = torch.rand(2, 3, 32, 24) * 2 - 1
    together = draw_latents(pipeline.vae, pictures, [torch.Generator().manual_seed(n) for n in (5, 6)])
    alone = draw_latents(pipeline.vae, pictures[1:], [torch.Generator().manual_seed(6)])
    torch.testing.assert_close(together[1:], alone)
    other = draw_latents(pipeline.vae, pictures[1:], [torch.Generator().manual_seed(7)])
    assert not torch.allclose(alone, other)
