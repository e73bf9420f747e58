"""A small data set to score, without a network connection."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from diffusers import AutoencoderKL
from stand_ins import HEIGHT, PERSONS, WIDTH, alexnet_state, picture, save_inception

from siftvton.commands.evaluate import Evaluate
from siftvton.data.config import HeldOutData
from siftvton.evaluation import weights
from siftvton.files import write_image, write_text


@pytest.fixture
def config(tmp_path) -> Evaluate:
    """The paired setting; ``same`` holds the photos themselves, ``other`` holds other pictures."""
    lines = []
    for number in range(PERSONS):
        person, garment = f"p{number}", f"g{number}"
        write_image(tmp_path / "data/test/image" / f"{person}.png", picture("photo", number))
        write_image(tmp_path / "same" / f"{person}_{person}.png", picture("photo", number))
        write_image(tmp_path / "other" / f"{person}_{person}.png", picture("result", number))
        write_image(tmp_path / "tried" / f"{person}_{garment}.png", picture("tried on", number))
        lines.append(f"{person}.png {garment}.png\n")
    write_text(tmp_path / "data/test_pairs.txt", "".join(lines))
    return Evaluate(
        data=HeldOutData(root=str(tmp_path / "data"), split="test", height=HEIGHT, width=WIDTH),
        predictions={"same": str(tmp_path / "same"), "other": str(tmp_path / "other")},
        setting="paired",
        workers=0,
        device="cpu",
        output=str(tmp_path / "output"),
    )


@pytest.fixture
def unpaired(config, tmp_path) -> Evaluate:
    """The unpaired setting; ``tried`` holds one picture for each pair."""
    config.setting = "unpaired"
    config.predictions = {"tried": str(tmp_path / "tried")}
    return config


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No network connection, and empty caches."""

    def refuse(*_, **__):
        raise URLError("no network in tests")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(weights, "CLEAN_FID_CACHE", tmp_path / "clean-fid")
    monkeypatch.setattr(weights, "check_download_inception", refuse)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory) -> Path:
    return save_inception(tmp_path_factory.mktemp("inception") / "stand-in.pt")


@pytest.fixture(scope="session")
def alexnet_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("alexnet") / "stand-in.pth"
    torch.save(alexnet_state(), path)
    return path


@pytest.fixture(scope="session")
def autoencoder_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("autoencoder")
    AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
    ).save_pretrained(folder)
    return folder
