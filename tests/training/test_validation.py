"""Validation: its scores, the best weights that it keeps, and that it does not change training."""

import shutil
import threading
from pathlib import Path

import pytest
import torch
from runs import metrics, run, same_weights, validations, weights
from stand_ins import alexnet_state, allow_inception, save_inception

from siftvton.data.dataset import TryOnDataset
from siftvton.data.layouts.base import IMAGE
from siftvton.data.layouts.vitonhd import VitonHD
from siftvton.errors import InputError, UsageError
from siftvton.training import best, validation
from siftvton.training.loop import train
from siftvton.training.validation import Validation


def test_each_validation_is_scored_and_the_best_weights_are_kept(configuration, monkeypatch: pytest.MonkeyPatch):
    plain = Validation.run

    def second_is_best(self, pipeline, sheet: Path) -> dict[str, float]:
        scores = plain(self, pipeline, sheet)
        return scores | {"unpaired": {2: 5.0, 4: 3.0, 6: 4.0}[int(sheet.stem[-1])]}

    monkeypatch.setattr(Validation, "run", second_is_best)
    output = run(configuration(updates=6, validate_every=2))
    short = run(configuration("short", updates=4))
    assert [entry["update"] for entry in validations(output)] == [2, 4, 6]
    for entry in validations(output):
        assert entry["autoencoder_frechet"] > 0
        assert 0 < entry["ssim"] < 1
        assert 0 < entry["attention_error_px"] < 512
        assert 0 <= entry["attention_pck"] <= 1
    best, fourth = weights(output, "best"), weights(short)
    assert all(torch.equal(tensor, best[name]) for name, tensor in fourth.items())
    assert sorted(path.name for path in (output / "validation").iterdir()) == [
        f"update-000000{n}.png" for n in (2, 4, 6)
    ]


def test_the_next_pictures_are_read_while_the_network_samples(configuration, monkeypatch: pytest.MonkeyPatch):
    read = threading.Semaphore(0)
    load, sample = TryOnDataset.batch, validation.generate

    def counted(self, indices):
        batch = load(self, indices)
        read.release()
        return batch

    def waiting(pipeline, batch, *given):
        if batch.pair[0] == first:
            assert all(read.acquire(timeout=60) for _ in range(2)), "the second batch was not read meanwhile"
        return sample(pipeline, batch, *given)

    config = configuration(batch_size=1, updates=1, validate_every=1)
    first = VitonHD(config.data.root, 2, 0).split("validation").pairs("unpaired")[0]
    monkeypatch.setattr(TryOnDataset, "batch", counted)
    monkeypatch.setattr(validation, "generate", waiting)
    assert len(validations(run(config))) == 1


def test_validation_does_not_change_training(configuration):
    plain = run(configuration("plain", updates=4))
    validated = run(configuration("validated", updates=4, validate_every=1))
    assert metrics(validated) == metrics(plain)
    assert same_weights(validated, plain)


def test_a_resumed_run_validates_and_chooses_like_an_uninterrupted_run(configuration):
    straight = run(configuration("straight", updates=4, validate_every=1))
    run(configuration("stopped", updates=2, validate_every=1))
    resumed = run(configuration("stopped", updates=4, validate_every=1))
    assert validations(resumed) == validations(straight)
    ours, theirs = weights(resumed, "best"), weights(straight, "best")
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_best_weights_of_updates_that_are_repeated_are_removed(
    configuration, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    """After a start from an earlier checkpoint, or a crash between a validation and the next checkpoint."""
    plain, scores = Validation.run, {2: 4.0, 4: 3.0}

    def scored(self, pipeline, sheet: Path) -> dict[str, float]:
        return plain(self, pipeline, sheet) | {"unpaired": scores[int(sheet.stem[-1])]}

    monkeypatch.setattr(Validation, "run", scored)
    config = configuration(updates=4, validate_every=2)
    output = run(config)
    (output / ".best.old").mkdir()  # left by a process that was killed while it removed the folder
    config.resume, scores[4] = "update-0000002", 5.0
    capsys.readouterr()
    run(config)
    assert f"{output / 'best'}: was removed, because it held the weights of update 4, and" in capsys.readouterr().out
    assert not (output / "best").exists()
    assert not (output / ".best.old").exists()


def test_best_weights_of_earlier_updates_stay(configuration, capsys: pytest.CaptureFixture):
    output = run(configuration(updates=2, validate_every=2))
    before = weights(output, "best")
    run(configuration(updates=3))
    assert "was removed" not in capsys.readouterr().out
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(output, "best").items())


def test_best_weights_behind_a_link_are_removed_and_the_link_stays(tmp_path: Path):
    place = tmp_path / "disk" / "best"
    place.mkdir(parents=True)
    (place / "update.json").write_text('{"update": 9}')
    (tmp_path / "best").symlink_to(place)
    best.drop_later(tmp_path / "best", 5)
    assert not place.exists()
    assert (tmp_path / "best").is_symlink()


def test_a_damaged_record_of_the_best_weights_is_named(tmp_path: Path):
    (tmp_path / "best").mkdir()
    best.drop_later(tmp_path / "best", 0)
    (tmp_path / "best" / "update.json").write_text('{"update": "x"}')
    with pytest.raises(InputError, match=r"update\.json: does not state an update; delete .*best, which"):
        best.drop_later(tmp_path / "best", 0)
    assert (tmp_path / "best").exists()


@pytest.mark.parametrize("pictures", [1, 2])
def test_one_validation_pair_chooses_no_best_weights_and_the_run_says_so(configuration, capsys, pictures: int):
    output = run(configuration(updates=1, validate_every=1, validation_pictures=pictures))
    said = f"note: one validation pair gives no unpaired score, so {output / 'best'} is not written; set"
    assert (said in capsys.readouterr().out) == (pictures == 1)
    assert (output / "best").exists() == (pictures == 2)


def test_a_missing_network_for_scores_is_named(configuration):
    with pytest.raises(InputError, match=r"nowhere\.pt"):
        train(configuration(validate_every=2, inception="nowhere.pt"))


def test_named_networks_add_their_scores_and_fid_chooses_the_best_weights(configuration, tmp_path: Path):
    torch.save(alexnet_state(), tmp_path / "alexnet.pth")
    config = configuration(updates=2, validate_every=2, alexnet=str(tmp_path / "alexnet.pth"))
    allow_inception(config.train, save_inception(tmp_path / "inception.pt"))
    entry = validations(run(config))[0]
    assert entry["unpaired"] == entry["fid"] > 0
    assert entry["lpips"] > 0
    assert "kid" in entry


def test_a_missing_validation_picture_is_named_before_training(configuration, tmp_path: Path):
    config = configuration(validate_every=2)
    shutil.copytree(config.data.root, tmp_path / "data")
    config.data.root = str(tmp_path / "data")
    held_out = VitonHD(config.data.root, 2, 0).split("validation").listed()[0]
    (tmp_path / "data" / "train" / IMAGE / held_out.person).unlink()
    with pytest.raises(InputError, match=rf"{held_out.person}: no such file"):
        train(config)
    assert not Path(config.output).exists()


def test_a_number_of_validation_steps_that_is_not_allowed_is_refused_before_training(configuration, tmp_path: Path):
    with pytest.raises(UsageError, match=r"train\.validation_steps=600: PNDMScheduler .*; use 500 or 890"):
        train(configuration(validation_steps=600))
    assert not (tmp_path / "run").exists()


def test_a_validation_picture_that_is_not_finite_is_an_error(configuration, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("siftvton.sampling.pipeline.not_finite", lambda pictures: [1])
    with pytest.raises(InputError, match=r"\d_00: the result is NaN or infinite"):
        train(configuration(validate_every=2))
