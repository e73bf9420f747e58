"""Shared by the tests: a tiny network, a tiny pipeline with random weights, and the options."""

import pytest
import torch

from siftvton.model import build
from siftvton.model.config import ModelConfig
from siftvton.sampling.pipeline import TryOnPipeline


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow", action="store_true", help="also run full-size tests, which take minutes and many gigabytes"
    )
    parser.addoption(
        "--device", default="cuda", help="device of the tests marked gpu; on cpu, most of them run at toy size"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {}
    if not config.getoption("--slow"):
        reasons["slow"] = "full size; run with --slow"
    if config.getoption("--device") == "cuda" and not torch.cuda.is_available():
        reasons["gpu"] = "requires a GPU with CUDA; on a machine that has one, run make test-gpu"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def sizes() -> ModelConfig:
    """A tiny network with all parts of the full one."""
    return ModelConfig(
        channels=[16, 32, 32],
        heads=2,
        norm_groups=8,
        context_width=16,
        context_blocks=1,
        image_width=16,
        image_layers=1,
        image_heads=2,
        image_patch=56,
    )


@pytest.fixture
def pipeline(sizes: ModelConfig) -> TryOnPipeline:
    """Random weights in every layer, also in zero-initialised ones; the VAE has stride 4 and 4 latent channels."""
    torch.manual_seed(0)
    parts = build.network_parts(sizes)
    for part in parts.values():
        for parameter in part.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
    vae = build.autoencoder([8, 16, 16], blocks_per_level=1, norm_groups=8)
    pipeline = TryOnPipeline(vae=vae, **parts, scheduler=build.scheduler())
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline
