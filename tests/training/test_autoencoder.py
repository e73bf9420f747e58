"""Training of the toy autoencoder."""

import json
import math
import signal
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from siftvton.data.config import PictureData
from siftvton.errors import DivergedError, InputError, UsageError
from siftvton.model import build
from siftvton.sampling.loading import load_part
from siftvton.training import autoencoder
from siftvton.training.autoencoder import (
    Crops,
    _items,
    _loss,
    _scaling_factor,
    _untrained,
    anchor_loss,
    opponent,
    reconstruction_loss,
    train_autoencoder,
)
from siftvton.training.config import TrainAutoencoder


def test_scaled_latents_have_unit_variance(configuration):
    items = _items(TrainAutoencoder(data=configuration().data), "train")
    vae = build.autoencoder([8, 16, 16], blocks_per_level=1, norm_groups=8)
    with torch.no_grad():
        vae.quant_conv.weight.zero_()
        vae.quant_conv.bias[:4] = 0
        vae.quant_conv.bias[4:] = 2 * torch.log(torch.tensor(4.0))  # latents of deviation 4
    for deviation in (1, 0.3):
        assert abs(_scaling_factor(vae, items, deviation, torch.device("cpu")) - deviation / 4) < 0.01 * deviation


def autoencoder_configuration(root: Path, output: Path, **settings) -> TrainAutoencoder:
    data = PictureData(root=str(root), validation_pairs=2, height=64, width=48)
    given = {"channels": [8, 16], "updates": 4, "batch_size": 1, "crop": 32, "checkpoint_every": 2, **settings}
    return TrainAutoencoder(data=data, output=str(output), **given)


def test_a_run_writes_an_autoencoder_its_psnr_and_a_sheet(root: Path, tmp_path: Path):
    train_autoencoder(autoencoder_configuration(root, tmp_path / "run"))
    vae = load_part(tmp_path / "run" / "vae", AutoencoderKL)
    assert vae.config.block_out_channels == [8, 16]
    report = json.loads((tmp_path / "run" / "psnr.json").read_text())
    assert report["pairs"] == 2
    assert set(report["psnr_db"]) == {"image", "garment", "agnostic", "densepose"}
    assert all(3 < value < 60 for value in report["psnr_db"].values())
    assert (tmp_path / "run" / "reconstructions.png").is_file()


def test_a_stopped_run_continues_bit_for_bit(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def weights(name: str) -> dict[str, torch.Tensor]:
        return load_part(tmp_path / name / "vae", AutoencoderKL).state_dict()

    def stops_at(call: int):
        calls = iter(range(1, 10))

        def loss(*given):
            if next(calls) == call:
                raise KeyboardInterrupt
            return _loss(*given)

        return loss

    train_autoencoder(autoencoder_configuration(root, tmp_path / "straight"))
    with monkeypatch.context() as patched:
        patched.setattr("siftvton.training.autoencoder._loss", stops_at(3))
        with pytest.raises(KeyboardInterrupt):
            train_autoencoder(autoencoder_configuration(root, tmp_path / "stopped"))
    train_autoencoder(autoencoder_configuration(root, tmp_path / "stopped"))
    straight = weights("straight")
    assert all(torch.equal(tensor, straight[name]) for name, tensor in weights("stopped").items())
    with pytest.raises(UsageError, match=r"learning_rate: 0\.002 -> 0\.5"):
        train_autoencoder(autoencoder_configuration(root, tmp_path / "stopped", learning_rate=0.5))


def test_a_signal_saves_and_the_same_command_continues(root: Path, tmp_path: Path, monkeypatch, capsys):
    calls = []

    def interrupted(*given):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)
        return _loss(*given)

    train_autoencoder(autoencoder_configuration(root, tmp_path / "straight"))
    with monkeypatch.context() as patched:
        patched.setattr(autoencoder, "_loss", interrupted)
        train_autoencoder(autoencoder_configuration(root, tmp_path / "stopped"))
    assert "stopped after update 3; run the same command again to continue" in capsys.readouterr().out
    assert not (tmp_path / "stopped" / "vae").exists()
    train_autoencoder(autoencoder_configuration(root, tmp_path / "stopped"))
    straight, stopped = (
        load_part(tmp_path / name / "vae", AutoencoderKL).state_dict() for name in ("straight", "stopped")
    )
    assert all(torch.equal(tensor, straight[name]) for name, tensor in stopped.items())


def test_a_run_without_its_configuration_is_not_continued(root: Path, tmp_path: Path):
    config = autoencoder_configuration(root, tmp_path / "run", updates=2)
    train_autoencoder(config)
    (tmp_path / "run" / "train_autoencoder.yaml").unlink()
    with pytest.raises(
        InputError, match=r"^\S*train_autoencoder\.yaml: no such file, so the configuration of \S*-0000002"
    ):
        train_autoencoder(config)


@pytest.mark.parametrize("rate", [1e32, math.inf])
def test_weights_that_are_not_finite_are_never_written(root: Path, tmp_path: Path, rate: float):
    config = autoencoder_configuration(root, tmp_path / "run", learning_rate=rate, updates=2)
    with pytest.raises(DivergedError, match=r"update 2: .*(is|are) NaN or infinite; its images: \d{5}_00; last"):
        train_autoencoder(config)
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    assert not (tmp_path / "run" / "vae").exists()


def test_training_can_start_from_another_autoencoder(root: Path, tmp_path: Path):
    train_autoencoder(autoencoder_configuration(root, tmp_path / "first"))
    train_autoencoder(
        autoencoder_configuration(root, tmp_path / "second", pretrained=str(tmp_path / "first" / "vae"), updates=1)
    )
    first, second = (load_part(tmp_path / name / "vae", AutoencoderKL).state_dict() for name in ("first", "second"))
    assert max((first[name] - second[name]).abs().max() for name in first) < 0.01


def test_an_autoencoder_that_the_run_would_replace_is_refused_to_start_from(root: Path, tmp_path: Path):
    own = tmp_path / "run" / "vae"
    with pytest.raises(UsageError, match=r"^pretrained=.*vae: training would replace this folder; use another output$"):
        train_autoencoder(autoencoder_configuration(root, tmp_path / "run", pretrained=str(own)))


def test_sizes_that_do_not_fit_are_named(root: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"channels=\[7\] norm_groups=8"):
        train_autoencoder(autoencoder_configuration(root, tmp_path / "run", channels=[7]))


@pytest.mark.parametrize("crop", [33, 64])
def test_a_crop_that_does_not_fit_is_refused(root: Path, tmp_path: Path, crop: int):
    with pytest.raises(UsageError, match=rf"crop={crop} is not allowed; use a multiple of 2 up to 48"):
        train_autoencoder(autoencoder_configuration(root, tmp_path / "run", crop=crop))


def test_a_picture_size_that_the_stride_does_not_divide_is_refused(root: Path, tmp_path: Path):
    with pytest.raises(
        UsageError, match=r"data\.height=64 data\.width=48 is not allowed; use multiples of 32 for both"
    ):
        train_autoencoder(autoencoder_configuration(root, tmp_path / "run", channels=[8] * 6))


def test_crops_are_cut_from_their_pictures_by_key(configuration):
    items = _items(TrainAutoencoder(data=configuration().data), "train")
    crops = Crops(items, 16, seed=0)
    first, key = crops[0, 1]
    assert key == (0, 1)
    assert torch.equal(first, crops[0, 1][0])
    assert not torch.equal(first, crops[1, 1][0])
    windows = items[0, 1].garment.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4)
    assert (windows == first[2]).all(dim=-1).all(dim=-1).all(dim=-1).any()


def test_the_posterior_starts_narrow(root: Path, tmp_path: Path):
    vae = _untrained(autoencoder_configuration(root, tmp_path))
    deviation = vae.encode(torch.zeros(1, 3, 64, 48)).latent_dist.std
    assert 0.02 < deviation.mean() < 0.1


def test_the_colour_weight_raises_the_loss_of_grey_in_place_of_red():
    red = torch.zeros(1, 3, 8, 8)
    red[:, 0] = 1
    grey = red.mean(dim=1, keepdim=True).expand_as(red)
    plain, coloured = (reconstruction_loss(grey, red, 0.0, 0.0, weight).item() for weight in (0.0, 1.0))
    assert plain == pytest.approx(4 / 9)  # (2 · 1/3 + 2/3) / 3
    assert coloured == pytest.approx(4 / 9 + 2.75)  # opponent differences of -2.5 and 3


def test_the_opponent_colours_of_grey_are_only_brightness():
    grey = torch.full((1, 3, 2, 2), 0.4)
    assert opponent(grey)[0, :, 0, 0].tolist() == pytest.approx([0.6, 0, 0], abs=1e-6)


def test_the_anchor_loss_is_zero_if_three_channels_hold_the_colours_of_the_cells():
    pictures = torch.rand(2, 3, 16, 12)
    latents = torch.rand(2, 4, 4, 3)  # the fourth channel is free
    latents[:, :3] = opponent(torch.nn.functional.avg_pool2d(pictures, 4))
    assert anchor_loss(latents, pictures).abs().max() < 1e-12
    latents[1, 2] += 0.5
    assert anchor_loss(latents, pictures).tolist() == pytest.approx([0, 0.25 / 3], abs=1e-6)
