"""How a start treats checkpoints that are damaged, belong to another run, or cannot be read at the moment."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from runs import metrics, run, same_weights
from safetensors.torch import load_file, save_file

from siftvton.errors import InputError
from siftvton.files import sha256
from siftvton.training import checkpoints, manifest
from siftvton.training.config import Train
from siftvton.training.loop import train

made: dict[str, Path] = {}


@pytest.fixture
def finished(configuration, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Train]:
    """``finished(**settings)``: the configuration of a copy of a run with checkpoints after updates 2 and 4."""

    def copied(output: str = "run", **settings) -> Train:
        config, name = configuration(output, **settings), json.dumps(settings)
        if name not in made:
            made[name] = tmp_path_factory.mktemp("made") / "run"
            shutil.copytree(run(configuration(output, **settings)), made[name])
        else:
            shutil.copytree(made[name], config.output)
        return config

    return copied


def folder(config: Train) -> Path:
    return Path(config.output) / "checkpoints"


def names(config: Train) -> list[str]:
    return sorted(path.name for path in folder(config).iterdir())


def digests(config: Train) -> dict[str, str]:
    """The digest of every file in the checkpoints."""
    return {str(path.relative_to(folder(config))): sha256(path) for path in folder(config).rglob("*") if path.is_file()}


def flip_a_bit(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def change_the_progress(checkpoint: Path) -> None:
    (checkpoint / "progress.json").write_text('{"update": 3, "images": 2, "best": null}')


def lose_a_file(checkpoint: Path) -> None:
    (checkpoint / "optimizer.bin").unlink()


def damage_the_manifest(checkpoint: Path) -> None:
    path = checkpoint / manifest.MANIFEST
    path.write_text(path.read_text().replace('"update": 4', '"update": 6'))


def put_a_file_in_its_place(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.write_text("x")


def put_a_pipe_in_the_manifests_place(checkpoint: Path) -> None:
    (checkpoint / manifest.MANIFEST).unlink()
    os.mkfifo(checkpoint / manifest.MANIFEST)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_bit, "model.safetensors has changed since it was written"),
        (change_the_progress, "progress.json has changed since it was written"),
        (lose_a_file, "optimizer.bin is missing"),
        (damage_the_manifest, "manifest.json is damaged"),
        (put_a_file_in_its_place, "it is not a folder"),
        (put_a_pipe_in_the_manifests_place, "manifest.json is a pipe, a socket or a device"),
    ],
)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(finished, capsys, damage, reason):
    config = finished()
    logged = metrics(Path(config.output))
    damage(folder(config) / "update-0000004")
    before = digests(config)
    run(config)
    printed = capsys.readouterr().out
    assert f"update-0000004: cannot be resumed ({reason}); trying the checkpoint before it" in printed
    assert "update-0000004: was renamed to unreadable-update-0000004" in printed
    assert names(config) == ["unreadable-update-0000004", "update-0000002", "update-0000004"]
    aside = {name.replace("update-0000004", "unreadable-update-0000004"): digest for name, digest in before.items()}
    assert aside.items() <= digests(config).items()
    assert metrics(Path(config.output)) == logged


def test_a_checkpoint_under_another_number_is_damaged(finished, capsys):
    config = finished()
    (folder(config) / "update-0000004").rename(folder(config) / "update-0000007")
    run(config)
    assert "update-0000007: cannot be resumed (it was written as update 4)" in capsys.readouterr().out
    assert names(config) == ["unreadable-update-0000007", "update-0000002", "update-0000004"]


@pytest.mark.parametrize(
    ("error", "earlier_version"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (OSError(errno.EIO, "Input/output error"), True),
    ],
)
def test_an_error_while_weights_are_loaded_does_not_count_as_damage(finished, monkeypatch, error, earlier_version):
    config = finished()
    if earlier_version:
        forget_manifests(config)
    before = digests(config)

    def failing(self, path: str, **given) -> None:
        raise error

    monkeypatch.setattr(Accelerator, "load_state", failing)
    with pytest.raises(InputError, match=r"update-0000004: .*nothing was changed") as caught:
        train(config)
    assert "\n" not in str(caught.value)
    assert digests(config) == before


def test_an_error_while_files_are_verified_does_not_count_as_damage(finished, monkeypatch):
    config = finished()
    before = digests(config)

    def failing(path: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(manifest, "sha256", failing)
    with pytest.raises(InputError, match=r"update-0000004: cannot be read at the moment .*Too many open files"):
        train(config)
    assert digests(config) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.EACCES])
def test_only_a_file_that_is_absent_counts_as_missing(tmp_path, number):
    with pytest.raises(InputError, match="nothing was changed"), manifest.reading(tmp_path):
        raise OSError(number, "at the moment")
    with pytest.raises(FileNotFoundError), manifest.reading(tmp_path):
        raise OSError(errno.ENOENT, "No such file")


def test_a_checkpoint_of_another_run_is_refused(finished, configuration):
    config = finished()
    other = run(configuration("other", updates=4, seed=7))
    foreign = folder(config) / "update-0000004"
    shutil.rmtree(foreign)
    shutil.copytree(other / "checkpoints" / "update-0000004", foreign)
    before = digests(config)
    with pytest.raises(InputError, match=r"update-0000004: belongs to another run .*move it out of the folder"):
        train(config)
    assert digests(config) == before
    config.resume, config.train.updates = "update-0000002", 3
    run(config)  # the checkpoint of the other run is not deleted
    assert names(config) == ["update-0000002", "update-0000003", "update-0000004"]


def forget_manifests(config: Train) -> None:
    """Remove what an earlier version did not write."""
    (Path(config.output) / "run.json").unlink()
    for path in folder(config).glob("*/manifest.json"):
        path.unlink()


def test_checkpoints_of_an_earlier_version_are_resumed_with_a_message(finished, configuration, capsys):
    config = finished()
    forget_manifests(config)
    config.train.updates = 6
    output = run(config)
    assert "update-0000004: has no manifest.json, because an earlier version wrote it" in capsys.readouterr().out
    assert same_weights(output, run(configuration("straight", updates=6)))
    run(config)  # this version has written the newest checkpoint
    assert "manifest.json" not in capsys.readouterr().out


def test_a_checkpoint_without_a_manifest_is_refused_in_a_run_with_manifests(finished):
    config = finished()
    (folder(config) / "update-0000004" / manifest.MANIFEST).unlink()
    with pytest.raises(InputError, match=r"update-0000004: has no manifest\.json, so it is incomplete"):
        train(config)


@pytest.mark.parametrize("name", ["run.json", "train.yaml"])
def test_checkpoints_without_the_record_or_configuration_of_the_run_are_refused(finished, name):
    config = finished()
    (Path(config.output) / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file"):
        train(config)


def test_a_checkpoint_with_weights_that_are_not_finite_is_replaced_by_the_one_before(finished, capsys):
    """An earlier version wrote such checkpoints."""
    config = finished()
    forget_manifests(config)
    path = folder(config) / "update-0000004" / "model.safetensors"
    tensors = load_file(path)
    tensors["unet.conv_out.bias"][0] = torch.nan
    save_file(tensors, path, metadata={"format": "pt"})
    run(config)
    assert "update-0000004: cannot be resumed (unet.conv_out.bias is NaN or infinite)" in capsys.readouterr().out


def test_later_checkpoints_than_the_named_one_stay_until_the_next_one_is_complete(finished, monkeypatch):
    config = finished()
    config.resume, config.train.updates = "update-0000002", 3

    def full(self, folder: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Accelerator, "save_state", full)
        with pytest.raises(InputError, match="No space left"):
            train(config)
    assert names(config) == ["update-0000002", "update-0000004"]
    run(config)
    assert names(config) == ["update-0000002", "update-0000003"]


def test_a_kill_while_an_old_checkpoint_is_deleted_leaves_no_partial_checkpoint(finished, monkeypatch):
    config = finished()
    config.train.updates = 6

    def killed(path: Path) -> None:
        (path / "model.safetensors").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            train(config)
    assert [path.name for path in checkpoints.saved(Path(config.output))] == ["update-0000004", "update-0000006"]
    config.train.updates = 8
    run(config)
    assert names(config) == ["update-0000006", "update-0000008"]


def test_checkpoints_can_be_on_another_disk(finished, tmp_path):
    config = finished()
    disk = tmp_path / "disk"
    shutil.move(folder(config), disk / "checkpoints")
    folder(config).symlink_to(disk / "checkpoints")
    shutil.move(disk / "checkpoints" / "update-0000002", disk / "second")
    (disk / "checkpoints" / "update-0000002").symlink_to(disk / "second")
    config.train.updates = 6
    run(config)
    assert names(config) == ["update-0000004", "update-0000006"]
    assert (disk / "second" / manifest.MANIFEST).is_file()  # only the link was removed


@pytest.mark.parametrize("kind", ["a link to a disk that is not there", "a file", "unreadable"])
def test_checkpoints_that_cannot_be_listed_do_not_cause_a_new_run(finished, tmp_path, monkeypatch, kind):
    config = finished()
    record = (Path(config.output) / "run.json").read_text()
    if kind == "unreadable":

        def failing(path: Path) -> list[str]:
            raise OSError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(manifest.os, "listdir", failing)
    else:
        shutil.rmtree(folder(config))
        if kind == "a file":
            folder(config).touch()
        else:
            folder(config).symlink_to(tmp_path / "disk")
    with pytest.raises(InputError, match=r"checkpoints: cannot be read \(.*\); nothing was changed"):
        train(config)
    assert (Path(config.output) / "run.json").read_text() == record


def test_other_names_in_the_folder_are_ignored(finished):
    config = finished()
    for name in ("update-0000009-copy", "update-9", "notes"):
        (folder(config) / name).mkdir()
    config.train.updates = 6
    run(config)
    assert names(config) == ["notes", "update-0000004", "update-0000006", "update-0000009-copy", "update-9"]


def test_accumulation_can_change_at_a_checkpoint(configuration):
    """After 3 updates with one micro-batch each, the next update has two."""
    straight = metrics(run(configuration(updates=4, batch_size=4, checkpoint_every=3)))
    config = configuration(updates=4, batch_size=2, accumulation=2)
    config.resume = "update-0000003"
    resumed = metrics(run(config))
    assert [entry["update"] for entry in resumed] == [1, 2, 3, 4]
    assert resumed[3] == pytest.approx(straight[3], rel=1e-4)
