"""Whole evaluations: from folders of pictures to the report."""

import csv
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from stand_ins import PERSONS, allow_inception, picture

from siftvton import cli
from siftvton.commands.evaluate import Evaluate, evaluate
from siftvton.errors import InputError, UsageError
from siftvton.evaluation import metrics, weights
from siftvton.evaluation.features import AutoencoderFeatures, InceptionFeatures
from siftvton.evaluation.pictures import PictureSet
from siftvton.files import sha256, write_image, write_text

SCRIPT = Path(__file__).parents[2] / "scripts/evaluate.py"
CPU = torch.device("cpu")


def report_of(config: Evaluate) -> dict:
    return json.loads((Path(config.output) / "metrics.json").read_text())


def written(config: Evaluate) -> list[str]:
    return sorted(path.name for path in Path(config.output).glob("*"))


def features_of(paths: list[Path], inception_file: Path) -> np.ndarray:
    network = weights.load_inception(inception_file, CPU, allowed=sha256(inception_file))
    return InceptionFeatures(network, 4, 0, CPU)(PictureSet("x", paths[0].parent, paths, (64, 48)))


def test_paired_scores_each_result_against_the_persons_photo(config, alexnet_file):
    config.alexnet = str(alexnet_file)
    table = evaluate(config)
    assert written(config) == ["config.yaml", "metrics.json", "per_image_other.csv", "per_image_same.csv", "table.md"]
    assert "| results | pictures | SSIM ↑ | LPIPS ↓ |" in table
    assert "| same | 6 | 1.0000 (1.0000 to 1.0000) | 0.0000 (0.0000 to 0.0000) |" in table
    assert (Path(config.output) / "table.md").read_text(encoding="utf-8") == table

    network = weights.load_lpips(alexnet_file, CPU)
    with open(Path(config.output) / "per_image_other.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["person"], row["garment"], row["result"]) for row in rows] == [
        (f"p{number}.png", f"p{number}.png", f"p{number}_p{number}.png") for number in range(PERSONS)
    ]
    for number, row in enumerate(rows):
        result, photo = (
            torch.from_numpy(picture(kind, number) / np.float32(255)).permute(2, 0, 1)[None]
            for kind in ("result", "photo")
        )
        assert float(row["ssim"]) == pytest.approx(float(metrics.structural_similarity(result, photo)), abs=1e-6)
        distance = float(metrics.perceptual_distance(result, photo, network))
        assert float(row["lpips"]) == pytest.approx(distance, rel=1e-4)
        assert distance > 1e-4
    scores = report_of(config)["results"]["other"]["scores"]
    for key in ("ssim", "lpips"):
        assert scores[key] == pytest.approx(sum(float(row[key]) for row in rows) / PERSONS)


def test_the_json_holds_the_protocol(config, alexnet_file):
    config.alexnet = str(alexnet_file)
    config.limit = 4
    evaluate(config)
    report = report_of(config)
    protocol = report["protocol"]
    assert (protocol["setting"], protocol["split"], protocol["results"], protocol["photos"]) == ("paired", "test", 4, 4)
    assert protocol["comparison_size"] == protocol["photo_size"] == [64, 48]
    assert protocol["versions"]["torchmetrics"]
    assert report["metrics"]["lpips"]["weights"] == {
        "file": str(alexnet_file),
        "sha256": sha256(alexnet_file),
        "published": False,
    }
    assert cli.load(Evaluate, Path(config.output) / "config.yaml") == config


def test_a_stand_in_for_the_published_weights_shows_in_the_table(config, alexnet_file):
    config.alexnet = str(alexnet_file)
    digest = sha256(alexnet_file)[:8]
    assert f"Weights: stand-in.pth (SHA-256 {digest}…), not the published file." in evaluate(config)


def test_unpaired_gives_fid_and_kid_of_the_listed_pictures(unpaired, inception_file, tmp_path):
    allow_inception(unpaired, inception_file)
    table = evaluate(unpaired)
    assert "| results | pictures | FID ↓ | KID ×1000 ↓ |" in table
    results = features_of([tmp_path / f"tried/p{number}_g{number}.png" for number in range(PERSONS)], inception_file)
    photos = features_of([tmp_path / f"data/test/image/p{number}.png" for number in range(PERSONS)], inception_file)
    scores = report_of(unpaired)["results"]["tried"]["scores"]
    assert scores["fid"] == pytest.approx(metrics.frechet_distance(results, photos), rel=1e-4)
    assert scores["kid"] == pytest.approx(metrics.kernel_distances(results, photos, seed=0).mean(), rel=1e-3)
    assert scores["fid"] > 1
    assert "kid" not in report_of(unpaired)["results"]["tried"]["intervals"], "all subsets are the whole set"


def test_the_papers_figures_are_shown_as_published(unpaired, inception_file):
    allow_inception(unpaired, inception_file)
    unpaired.published = True
    assert "| SIFT-VTON, first version (published) |  | 8.860 | 1.092 |" in evaluate(unpaired)


@pytest.mark.parametrize("setting", ["paired", "unpaired"])
def test_stray_pictures_and_batch_size_change_nothing(config, tmp_path, setting, inception_file, alexnet_file):
    allow_inception(config, inception_file)
    config.setting, config.alexnet = setting, str(alexnet_file)
    config.predictions = {"ours": str(tmp_path / ("other" if setting == "paired" else "tried"))}
    evaluate(config)
    before = report_of(config)["results"]["ours"]["scores"]
    for folder in (Path(config.predictions["ours"]), tmp_path / "data/test/image"):
        write_image(folder / "0_stray.png", picture("stray", height=32))
        write_image(folder / "deeper/p0.png", picture("stray"))
    config.batch_size = 4
    evaluate(config)
    assert report_of(config)["results"]["ours"]["scores"] == pytest.approx(before, rel=1e-4)


def test_the_reference_stays_whole_when_fewer_results_are_scored(unpaired, inception_file, tmp_path):
    allow_inception(unpaired, inception_file)
    unpaired.limit = 3
    evaluate(unpaired)
    results = features_of([tmp_path / f"tried/p{number}_g{number}.png" for number in range(3)], inception_file)
    photos = features_of([tmp_path / f"data/test/image/p{number}.png" for number in range(PERSONS)], inception_file)
    report = report_of(unpaired)
    assert (report["protocol"]["results"], report["protocol"]["photos"]) == (3, PERSONS)
    expected = metrics.frechet_distance(results, photos)
    assert report["results"]["tried"]["scores"]["fid"] == pytest.approx(expected, rel=1e-4)


def test_validation_compares_only_with_the_validation_persons(unpaired, inception_file, tmp_path):
    allow_inception(unpaired, inception_file)
    unpaired.data.split, unpaired.data.validation_pairs = "validation", 4
    (tmp_path / "data/test").rename(tmp_path / "data/train")
    (tmp_path / "data/test_pairs.txt").rename(tmp_path / "data/train_pairs.txt")
    evaluate(unpaired)
    report = report_of(unpaired)
    assert (report["protocol"]["results"], report["protocol"]["photos"]) == (4, 4)
    with open(Path(unpaired.output) / "per_image_tried.csv", encoding="utf-8", newline="") as file:
        persons = [row["person"] for row in csv.DictReader(file)]
    photos = features_of([tmp_path / "data/train/image" / person for person in persons], inception_file)
    results = features_of([tmp_path / "tried" / f"{name[:2]}_g{name[1]}.png" for name in persons], inception_file)
    expected = metrics.frechet_distance(results, photos)
    assert report["results"]["tried"]["scores"]["fid"] == pytest.approx(expected, rel=1e-4)


def test_without_weights_the_other_metrics_are_given(config, capsys, tmp_path):
    table = evaluate(config)
    assert "| same | 6 | 1.0000 (1.0000 to 1.0000) | not run |" in table
    target = tmp_path / "torch/hub/checkpoints/alexnet-owt-7be5be79.pth"
    assert "- Not run: LPIPS: weights missing: alexnet-owt-7be5be79.pth could not be downloaded" in table
    assert f"put it at {target}, or use alexnet=<file>" in table
    assert "weights missing" in report_of(config)["metrics"]["lpips"]["not_run"]
    assert "lpips" not in report_of(config)["results"]["same"]["scores"]
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warning.startswith("warning: LPIPS not run: weights missing: alexnet-owt-7be5be79.pth")


def test_a_score_that_is_not_finite_is_listed_and_the_others_are_written(config, alexnet_file, monkeypatch):
    def last_is_nan(result: torch.Tensor, *_: object) -> torch.Tensor:
        distances = torch.zeros(len(result))
        distances[-1] = torch.nan
        return distances

    monkeypatch.setattr(metrics, "perceptual_distance", last_is_nan)
    config.alexnet = str(alexnet_file)
    with pytest.raises(InputError, match=rf"^LPIPS of same is NaN or infinite; check {alexnet_file}; LPIPS of other"):
        evaluate(config)
    report = report_of(config)
    assert list(report["results"]["same"]["scores"]) == ["ssim"]
    assert "NaN or infinite" in report["metrics"]["lpips"]["not_run"]
    table = (Path(config.output) / "table.md").read_text(encoding="utf-8")
    assert "| same | 6 | 1.0000 (1.0000 to 1.0000) | not run |" in table
    assert "nan" not in (Path(config.output) / "per_image_same.csv").read_text()


def test_features_that_are_not_finite_name_the_network(unpaired, autoencoder_folder, monkeypatch):
    monkeypatch.setattr(AutoencoderFeatures, "__call__", lambda *_: np.full((PERSONS, 64), np.nan))
    unpaired.autoencoder = str(autoencoder_folder)
    with pytest.raises(
        InputError, match=rf"^{autoencoder_folder}.*: the features that it computes of photos are NaN or infinite"
    ):
        evaluate(unpaired)
    assert not Path(unpaired.output).exists()


def test_the_autoencoders_distance_is_never_called_fid(unpaired, autoencoder_folder):
    unpaired.autoencoder = str(autoencoder_folder)
    table = evaluate(unpaired)
    report = report_of(unpaired)
    latent = "Fréchet distance (autoencoder features) ↓ | kernel distance ×1000 (autoencoder features) ↓"
    assert f"| FID ↓ | KID ×1000 ↓ | {latent} |" in table
    assert "| tried | 6 | not run | not run | " in table
    assert list(report["results"]["tried"]["scores"]) == ["autoencoder_frechet", "autoencoder_kernel"]
    assert report["results"]["tried"]["scores"]["autoencoder_frechet"] > 0
    assert "- Not run: FID, KID ×1000: weights missing: inception-2015-12-05.pt" in table


def test_nothing_is_written_if_nothing_can_be_computed(unpaired):
    with pytest.raises(InputError, match=r"no metric could be computed: weights missing: inception-2015-12-05\.pt"):
        evaluate(unpaired)
    assert written(unpaired) == []


def test_pictures_too_small_for_alexnet_still_get_ssim(config, alexnet_file):
    config.alexnet, config.data.height, config.data.width = str(alexnet_file), 24, 16
    assert (
        "- Not run: LPIPS: AlexNet requires pictures of at least 31 pixels on each side; these are compared at 24×16."
        in (evaluate(config))
    )


def test_a_rerun_leaves_no_table_of_an_earlier_name(config):
    evaluate(config)
    config.predictions = {"renamed": config.predictions["other"]}
    evaluate(config)
    assert written(config) == ["config.yaml", "metrics.json", "per_image_renamed.csv", "table.md"]


def spoil(config: Evaluate, folder: Path, what: str) -> None:
    photo, result = folder / "data/test/image/p2.png", folder / "other/p2_p2.png"
    if what == "no data folder":
        config.data.root = str(folder / "nowhere")
    elif what == "no results folder":
        config.predictions["other"] = str(folder / "nowhere")
    elif what == "no results":
        config.predictions = {}
    elif what == "a name that is a path":
        config.predictions["../other"] = config.predictions["other"]
    elif what == "empty pair list":
        write_text(folder / "data/test_pairs.txt", "\n")
    elif what == "missing photo":
        photo.unlink()
    elif what == "truncated photo":
        photo.write_bytes(photo.read_bytes()[:200])
    elif what == "grey photo":
        write_image(photo, picture("grey")[:, :, 0])
    elif what == "wrongly sized photo":
        write_image(photo, picture("small", height=32))
    elif what == "missing result":
        result.unlink()
    elif what == "wrongly sized result":
        write_image(result, picture("small", height=32))
    elif what == "missing weights":
        config.alexnet = str(folder / "nowhere.pth")
    elif what == "output is a file":
        config.output = str(photo)
    elif what == "unknown device":
        config.device = "abacus"


@pytest.mark.parametrize(
    ("what", "message", "exit_code"),
    [
        ("no data folder", r"data\.root=.*nowhere: no such folder", 1),
        ("no results folder", r"predictions\.other: .*nowhere: no such folder", 1),
        ("no results", r"predictions: no results are given", 2),
        ("a name that is a path", r"predictions\.\.\./other is not allowed; use a name of letters", 2),
        ("empty pair list", r"test_pairs\.txt: contains no pair", 1),
        ("missing photo", r"p2\.png: no such file", 1),
        ("truncated photo", r"p2\.png: cannot be decoded", 1),
        ("grey photo", r"p2\.png: the picture has mode L", 1),
        ("wrongly sized photo", r"image: pictures differ in size .*5 are 64×48, but p2\.png is 32×48", 1),
        ("missing result", r"predictions\.other: .* lacks 1 of 6 results .*: p2_p2", 1),
        ("wrongly sized result", r"other: pictures differ in size .*5 are 64×48, but p2_p2\.png is 32×48", 1),
        ("missing weights", r"alexnet=.*nowhere\.pth: no such file", 1),
        ("output is a file", r"output=.*p2\.png is not allowed: it is a file; use a folder", 2),
        ("unknown device", r"device=abacus is not available", 2),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(config, tmp_path, what, message, exit_code):
    spoil(config, tmp_path, what)
    with pytest.raises(InputError, match=message) as caught:
        evaluate(config)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == exit_code
    assert isinstance(caught.value, UsageError) == (exit_code == 2)
    assert written(config) == []


def run_script(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return caught.value.code


def test_the_script_prints_the_table_or_one_line(config, monkeypatch, capsys, tmp_path):
    keys = [
        f"data.root={config.data.root}",
        "setting=paired",
        "data.height=64",
        "data.width=48",
        "workers=0",
        "device=cpu",
    ]
    keys.append(f"output={config.output}")
    assert run_script(monkeypatch, *keys, f"predictions.ours={tmp_path / 'same'}") == 0
    assert "| ours | 6 | 1.0000 (1.0000 to 1.0000) | not run |" in capsys.readouterr().out
    assert run_script(monkeypatch, *keys, f"predictions.ours={tmp_path / 'tried'}") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("evaluate.py: predictions.ours: ")
    assert error.endswith("all unpaired results are there: did you mean setting=unpaired?")
    assert run_script(monkeypatch, *keys, "prediction.ours=x") == 2
