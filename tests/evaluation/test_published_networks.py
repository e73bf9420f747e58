"""Weights files: where they are searched for, which are refused, and that no file can run code unasked."""

import os
import pickle
import shutil
import warnings
from dataclasses import replace
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
from siftvton.files import sha256, write_image

CPU = torch.device("cpu")


@pytest.fixture
def drawn(tmp_path) -> PictureSet:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        write_image(path, picture("drawn", number))
    return PictureSet("drawn", tmp_path, paths, (64, 48))


def test_without_a_connection_the_message_says_which_file_to_put_where(tmp_path):
    for file in (weights.INCEPTION, weights.ALEXNET):
        with pytest.raises(weights.MissingWeightsError) as caught:
            weights.locate(file, None)
        target = tmp_path / "torch/hub/checkpoints" / file.name
        assert f"get {file.url} and put it at {target}, or use {file.key}=<file>" in str(caught.value)
        assert "no network in tests" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture
def published(monkeypatch, tmp_path) -> Path:
    """A stand-in for Inception whose digest counts as the published one."""
    path = save_inception(tmp_path / "published.pt")
    monkeypatch.setattr(weights, "INCEPTION", replace(weights.INCEPTION, digest=sha256(path)))
    return path


def test_the_published_inception_is_known_by_its_whole_digest():
    """Another program could have the same first digits."""
    assert len(weights.INCEPTION.digest) == 64


def test_a_file_where_the_message_says_is_found(tmp_path, published):
    target = tmp_path / "torch/hub/checkpoints/inception-2015-12-05.pt"
    target.parent.mkdir(parents=True)
    shutil.copyfile(published, target)
    assert weights.locate(weights.INCEPTION, None) == target


def test_a_file_that_clean_fid_downloaded_is_found(tmp_path, published):
    (tmp_path / "clean-fid").mkdir()
    shutil.copyfile(published, tmp_path / "clean-fid/inception-2015-12-05.pt")
    assert weights.locate(weights.INCEPTION, None) == tmp_path / "clean-fid/inception-2015-12-05.pt"


def test_another_file_in_a_folder_that_everybody_may_write_to_is_not_used(tmp_path):
    (tmp_path / "clean-fid").mkdir()
    save_inception(tmp_path / "clean-fid/inception-2015-12-05.pt")
    with pytest.raises(weights.MissingWeightsError, match="no network in tests"):
        weights.locate(weights.INCEPTION, None)


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(InputError, match=r"^alexnet=.*nowhere\.pth: no such file; use alexnet-owt-7be5be79\.pth"):
        weights.locate(weights.ALEXNET, str(tmp_path / "nowhere.pth"))


def test_a_cached_file_that_is_not_the_published_one_is_refused(tmp_path):
    target = tmp_path / "torch/hub/checkpoints/alexnet-owt-7be5be79.pth"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"<html>moved</html>")
    with pytest.raises(InputError, match=r"SHA-256 begins with .*, not 7be5be79; delete the file"):
        weights.locate(weights.ALEXNET, None)


@pytest.mark.parametrize("file", ["INCEPTION", "ALEXNET"])
def test_a_broken_download_is_not_kept(monkeypatch, tmp_path, file):
    """clean-fid keeps a partial download under the final name, and loads it the next time."""
    monkeypatch.setattr(
        weights, "check_download_inception", lambda folder: cut_off(Path(folder) / "inception-2015-12-05.pt")
    )
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda _, path: cut_off(Path(path)))

    def cut_off(path: Path) -> None:
        path.write_bytes(b"half")

    with pytest.raises(
        weights.MissingWeightsError, match=r"could not be downloaded \(the SHA-256 of the download begins"
    ):
        weights.locate(getattr(weights, file), None)
    assert list((tmp_path / "torch/hub/checkpoints").iterdir()) == []


def test_a_download_is_kept(monkeypatch, tmp_path, published):
    monkeypatch.setattr(
        weights,
        "check_download_inception",
        lambda folder: shutil.copyfile(published, Path(folder) / "inception-2015-12-05.pt"),
    )
    assert weights.locate(weights.INCEPTION, None) == tmp_path / "torch/hub/checkpoints/inception-2015-12-05.pt"
    weights.load_inception(weights.locate(weights.INCEPTION, None), CPU)


def test_a_download_is_never_written_through_a_link(monkeypatch, tmp_path, published):
    victim, folder = tmp_path / "victim", tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    (folder / "inception-2015-12-05.pt").symlink_to(victim)
    monkeypatch.setattr(
        weights,
        "check_download_inception",
        lambda into: shutil.copyfile(published, Path(into) / "inception-2015-12-05.pt"),
    )
    path = weights.locate(weights.INCEPTION, None)
    assert not victim.exists()
    assert not path.is_symlink()


def test_a_cache_that_cannot_be_written_to_counts_as_a_failed_download(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    for file in (weights.INCEPTION, weights.ALEXNET):
        with pytest.raises(weights.MissingWeightsError, match=r"could not be downloaded \(.*Not a directory") as caught:
            weights.locate(file, None)
        assert f"or use {file.key}=<file>" in str(caught.value)


class Overwrites(torch.nn.Module):
    """A TorchScript program that writes into a file, as any program may."""

    def __init__(self, victim: str) -> None:
        super().__init__()
        self.victim = victim

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return pictures[:, 0].flatten(1)[:, :2048] + torch.from_file(self.victim, True, 1).fill_(1)


def test_an_unknown_program_is_refused_and_not_run(tmp_path):
    victim = tmp_path / "victim"
    network = Inception()
    network.layers = Overwrites(str(victim))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns that TorchScript is deprecated
        torch.jit.script(network).save(str(tmp_path / "program.pt"))
    victim.write_text("precious")
    digest = sha256(tmp_path / "program.pt")
    for allowed in (None, "", digest[:8], digest[:-1] + "x"):
        with pytest.raises(InputError, match=f"so it was not run; get https.*use inception_sha256={digest}$"):
            weights.load_inception(tmp_path / "program.pt", CPU, allowed=allowed)
        assert victim.read_text() == "precious"
    weights.load_inception(tmp_path / "program.pt", CPU, allowed=digest.upper())
    assert victim.read_bytes() != b"precious", "the program does write once it is allowed"


@pytest.mark.parametrize("load", [weights.load_inception, weights.load_lpips])
def test_a_file_without_weights_is_named(tmp_path, load):
    path = tmp_path / "network.pth"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(InputError, match=r"network\.pth: is a Git LFS pointer"):
        load(path, CPU)
    path.write_text("\n<!DOCTYPE html><title>404</title>")
    with pytest.raises(InputError, match=r"network\.pth: is a web page"):
        load(path, CPU)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"network\.pth: is a named pipe"):
        load(path, CPU)


def test_inception_features_are_the_networks_on_pictures_of_299(inception_file, drawn):
    found = InceptionFeatures(weights.load_inception(inception_file, CPU, sha256(inception_file)), 2, 0, CPU)(drawn)
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
        weights.load_inception(path, CPU, allowed=sha256(path))
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


@pytest.mark.parametrize("content", ["a picture", "text", "objects"])
def test_a_file_that_is_no_alexnet_is_refused_in_our_own_words(tmp_path, content):
    path = tmp_path / "alexnet.pth"
    if content == "a picture":
        write_image(path.with_suffix(".png"), picture("x"))
        path.with_suffix(".png").rename(path)
    elif content == "text":
        path.write_text("not weights")
    else:
        path.write_bytes(pickle.dumps({"features.0.weight": Path("x")}))
    reason = r"PyTorch did not write it, or it holds other objects"
    expected = rf"^{path}: not a file of tensors \({reason}\); use {weights.ALEXNET.name} from https://\S+$"
    with pytest.raises(InputError, match=expected):
        weights.load_lpips(path, CPU)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_alexnet_that_is_not_finite_is_refused(tmp_path, value):
    state = alexnet_state()
    state["features.3.bias"][5] = value
    torch.save(state, tmp_path / "alexnet.pth")
    with pytest.raises(InputError, match=r"alexnet\.pth: features\.3\.bias holds values that are NaN or infinite"):
        weights.load_lpips(tmp_path / "alexnet.pth", CPU)


def test_an_alexnet_in_pytorchs_older_format_is_read(tmp_path, alexnet_file):
    torch.save(alexnet_state(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    old, new = (weights.load_lpips(path, CPU).state_dict() for path in (tmp_path / "old.pth", alexnet_file))
    assert all(torch.equal(old[name], tensor) for name, tensor in new.items())


def test_autoencoder_features_are_posterior_means_averaged_over_a_grid(autoencoder_folder, drawn):
    autoencoder = load_autoencoder(autoencoder_folder, CPU)
    found = AutoencoderFeatures(autoencoder, (64, 64), 2, 0, CPU)(drawn)
    pictures = torch.stack(list(Pictures(drawn.paths, (64, 64))))
    with torch.no_grad():
        mean = autoencoder.encode(2 * pictures - 1).latent_dist.mean  # (3, 4, 8, 8)
    expected = mean.reshape(3, 4, 4, 2, 4, 2).mean(dim=(3, 5)).reshape(3, 64)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_folder_without_an_autoencoder_is_refused(tmp_path):
    expected = rf"^autoencoder={tmp_path}: .*config\.json: no such file; use a folder that scripts/train_autoencoder"
    with pytest.raises(InputError, match=expected):
        load_autoencoder(tmp_path, CPU)


def test_a_truncated_autoencoder_is_refused(tmp_path, autoencoder_folder):
    for path in autoencoder_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"^autoencoder=.*\.safetensors: is damaged or not a safetensors file"):
        load_autoencoder(tmp_path, CPU)
