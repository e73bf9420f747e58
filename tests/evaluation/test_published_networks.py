"""Weights files: where they are looked for, what is refused, and that none can run code."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from stand_ins import Inception, alexnet_state, picture, save_inception

from siftvton.errors import InputError
from siftvton.evaluation import weights
from siftvton.evaluation.features import AutoencoderFeatures, InceptionFeatures, load_autoencoder
from siftvton.evaluation.pictures import Pictures, PictureSet
from siftvton.files import write_image

CPU = torch.device("cpu")


@pytest.fixture
def drawn(tmp_path) -> PictureSet:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        write_image(path, picture("drawn", number))
    return PictureSet("drawn", tmp_path, paths, (64, 48))


def test_without_network_the_message_says_which_file_goes_where(tmp_path):
    for file in (weights.INCEPTION, weights.ALEXNET):
        with pytest.raises(weights.MissingWeightsError) as caught:
            weights.locate(file, None)
        target = tmp_path / "torch/hub/checkpoints" / file.name
        assert f"get {file.url} and put it at {target}, or name it by {file.key}=<file>" in str(caught.value)
        assert "no network in tests" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_at_the_place_that_the_message_names_is_found(tmp_path):
    target = tmp_path / "torch/hub/checkpoints/inception-2015-12-05.pt"
    target.parent.mkdir(parents=True)
    save_inception(target)
    assert weights.locate(weights.INCEPTION, None) == target


def test_what_clean_fid_downloaded_earlier_is_found(tmp_path):
    (tmp_path / "clean-fid").mkdir()
    save_inception(tmp_path / "clean-fid/inception-2015-12-05.pt")
    assert weights.locate(weights.INCEPTION, None) == tmp_path / "clean-fid/inception-2015-12-05.pt"


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(InputError, match=r"alexnet=.*nowhere\.pth: no such file; wanted alexnet-owt-7be5be79\.pth"):
        weights.locate(weights.ALEXNET, str(tmp_path / "nowhere.pth"))


def test_a_cached_file_that_is_not_the_published_one_is_refused(tmp_path):
    target = tmp_path / "torch/hub/checkpoints/alexnet-owt-7be5be79.pth"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"<html>moved</html>")
    with pytest.raises(InputError, match=r"SHA-256 begins with .*, not 7be5be79; delete the file"):
        weights.locate(weights.ALEXNET, None)


def test_a_broken_download_is_not_kept(monkeypatch, tmp_path):
    """clean-fid leaves what it got under the final name and takes it for the network the next time."""

    def cut_off(folder: str) -> str:
        path = Path(folder) / "inception-2015-12-05.pt"
        path.write_bytes(save_inception(tmp_path / "whole.pt").read_bytes()[:5000])
        return str(path)

    monkeypatch.setattr(weights, "check_download_inception", cut_off)
    with pytest.raises(weights.MissingWeightsError):
        weights.locate(weights.INCEPTION, None)
    assert list((tmp_path / "torch/hub/checkpoints").iterdir()) == []


def test_a_download_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(
        weights,
        "check_download_inception",
        lambda folder: str(save_inception(Path(folder) / "inception-2015-12-05.pt")),
    )
    assert weights.locate(weights.INCEPTION, None) == tmp_path / "torch/hub/checkpoints/inception-2015-12-05.pt"
    weights.load_inception(weights.locate(weights.INCEPTION, None), CPU)


def test_inception_features_are_the_networks_on_pictures_of_299(inception_file, drawn):
    found = InceptionFeatures(weights.load_inception(inception_file, CPU), 2, 0, CPU)(drawn)
    resized = [
        np.stack(
            [
                np.asarray(Image.fromarray(channel.astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC))
                for channel in picture("drawn", number).transpose(2, 0, 1)
            ]
        ).clip(0, 255)
        for number in range(3)
    ]
    with torch.no_grad():
        expected = Inception()(torch.from_numpy(np.stack(resized)))
    assert found.shape == (3, 2048)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("content", ["truncated", "too few features", "no layers", "a picture"])
def test_a_wrong_inception_file_is_refused(tmp_path, content):
    path = save_inception(tmp_path / "network.pt", features=64 if content == "too few features" else 2048)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif content == "no layers":
        torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)).save(str(path))
    elif content == "a picture":
        write_image(tmp_path / "picture.png", picture("x"))
        path = tmp_path / "picture.png"
    with pytest.raises(InputError, match="not a TorchScript network from 299×299 pictures to 2048 features") as caught:
        weights.load_inception(path, CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["lacking", "more", "another shape"])
def test_alexnet_is_loaded_strictly(tmp_path, change):
    state = alexnet_state()
    if change == "lacking":
        del state["features.3.bias"]
    elif change == "more":
        state["features.12.bias"] = torch.zeros(1)
    else:
        state["features.3.weight"] = state["features.3.weight"][:, :1]
    torch.save(state, tmp_path / "alexnet.pth")
    with pytest.raises(InputError, match=r"not torchvision's AlexNet: features\.(3|12)\.(bias|weight) is missing"):
        weights.load_lpips(tmp_path / "alexnet.pth", CPU)


class Code:
    def __reduce__(self):
        return Path.write_text, (Path(self.trace), "ran")


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path):
    code = Code()
    code.trace = str(tmp_path / "trace")
    torch.save({"features.0.weight": code}, tmp_path / "alexnet.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(code, protocol=2))
    for name in ("alexnet.pth", "plain.pth"):
        with pytest.raises(InputError, match="not a file of tensors"):
            weights.load_lpips(tmp_path / name, CPU)
    assert not (tmp_path / "trace").exists()


def test_autoencoder_features_are_posterior_means_averaged_over_a_grid(autoencoder_folder, drawn):
    autoencoder = load_autoencoder(autoencoder_folder, CPU)
    found = AutoencoderFeatures(autoencoder, (64, 64), 2, 0, CPU)(drawn)
    pictures = torch.stack(list(Pictures(drawn.paths, (64, 64))))
    with torch.no_grad():
        mean = autoencoder.encode(2 * pictures - 1).latent_dist.mean  # (3, 4, 8, 8)
    expected = mean.reshape(3, 4, 4, 2, 4, 2).mean(dim=(3, 5)).reshape(3, 64)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_folder_without_an_autoencoder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"config\.json: no such file; scripts/train_autoencoder"):
        load_autoencoder(tmp_path, CPU)


def test_a_truncated_autoencoder_is_refused(tmp_path, autoencoder_folder):
    for path in autoencoder_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_autoencoder(tmp_path, CPU)
