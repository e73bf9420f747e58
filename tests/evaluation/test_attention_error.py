"""The attention error, for attention with a known answer."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import Attention
from examples import random_matches, tiny_autoencoder, write_update
from torch import nn

from siftvton import devices
from siftvton.commands.attention_error import AttentionError, attention_error
from siftvton.commands.convert_checkpoint import ConvertCheckpoint, convert_checkpoint
from siftvton.data.config import HeldOutData
from siftvton.errors import InputError
from siftvton.evaluation import attention_error as module
from siftvton.evaluation.attention_error import always, model_errors, position_errors, summary
from siftvton.evaluation.attention_maps import load_observed, spread_points
from siftvton.files import read_image
from siftvton.sampling.loading import save
from siftvton.supervision import Concatenated
from siftvton.supervision.attention import attention_rows, keys
from siftvton.supervision.reference import cells
from siftvton.toy.exact_maps import exact_positions, read_map
from siftvton.toy.world.write import write_world

GRID, FRAME = (4, 3), (128, 96)  # cells of 32 × 32 pixels; 512 × 384 is four times as large


def test_the_error_of_attention_on_one_cell_is_the_distance_to_its_middle():
    weights = torch.zeros(2, 12)
    weights[0, 4] = weights[1, 11] = 1  # row 1, column 1; the last cell
    truth = torch.tensor([[47.5 + 3, 47.5 + 4], [79.5, 15.5]])
    near, far = position_errors(weights, truth, GRID, FRAME).tolist()
    assert near == pytest.approx([4 * 5, 4 * 5, 0, 0, 0])  # 20 pixels; 19.2 are near
    assert far == pytest.approx([4 * 96, 4 * 96, 0, 0, 0])
    exact = position_errors(weights[:1], torch.tensor([[47.5, 47.5]]), GRID, FRAME)[0].tolist()
    assert exact == pytest.approx([0, 0, 1, 1, 0], abs=1e-4)


def test_even_attention_expects_the_middle_of_the_picture():
    weights = torch.full((1, 12), 1 / 12)
    expected, _, _, mass, entropy = position_errors(weights, torch.tensor([[47.5, 47.5]]), GRID, FRAME)[0].tolist()
    assert expected == pytest.approx(4 * 16)  # the middle of 4 rows is between the second and the third
    assert mass == pytest.approx(1 / 12)
    assert entropy == pytest.approx(math.log(12))


def test_rows_are_the_layers_own_attention():
    torch.manual_seed(0)
    attention = Attention(query_dim=8, cross_attention_dim=6, heads=2, dim_head=4)
    hidden, garment = torch.randn(1, 12, 8), torch.randn(1, 12, 6)
    query, key = (
        attention.head_to_batch_dim(projected) for projected in (attention.to_q(hidden), attention.to_k(garment))
    )
    whole = attention.get_attention_scores(query, key).mean(dim=0)
    rows = torch.tensor([7, 0, 7])
    assert torch.allclose(
        attention_rows(attention, hidden[0], keys(attention, garment)[0], rows), whole[rows], atol=1e-6
    )


def test_nothing_is_measured_in_half_precision_under_autocast():
    torch.manual_seed(0)
    attention = Attention(query_dim=32, cross_attention_dim=32, heads=4, dim_head=8)
    hidden, key = 4 * torch.randn(12, 32), 3 * torch.randn(4, 12, 8)
    rows, truth = torch.arange(12), torch.rand(12, 2) * torch.tensor([96.0, 128.0])
    weights = attention_rows(attention, hidden, key, rows)
    errors = position_errors(weights, truth, GRID, FRAME)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(attention_rows(attention, hidden, key, rows), weights, rtol=0, atol=1e-6)
        torch.testing.assert_close(position_errors(weights, truth, GRID, FRAME), errors, rtol=0, atol=1e-6)


@pytest.mark.parametrize("garment", ["below", "right"])
def test_any_model_and_layout_is_measured(garment: str):
    """Two self-attention layers over person and garment in one picture, called in another order than they are named."""
    torch.manual_seed(0)
    model = nn.ModuleDict({name: Attention(query_dim=8, heads=2, dim_head=4) for name in ("late", "early")})
    both = torch.randn(2, 24, 8)
    known = [always(random_matches(5, FRAME, seed)) for seed in (1, 2)]
    layouts = {name: Concatenated(garment, FRAME) for name in ("late", "early")}
    found = model_errors(model, lambda: [model[name](both) for name in ("early", "late")], known, FRAME, layouts)
    halves = np.split(np.arange(24).reshape((8, 3) if garment == "below" else (4, 6)), 2, int(garment == "right"))
    person, cloth = (half.ravel().tolist() for half in halves)
    for name, measured in found.items():
        assert measured.grid == GRID
        attention = model[name]
        query, key = (
            projection(both).unflatten(-1, (2, 4)).transpose(1, 2) for projection in (attention.to_q, attention.to_k)
        )
        weights = (query[:, :, person] @ key[:, :, cloth].transpose(2, 3) / 2).softmax(dim=-1).mean(dim=1)
        for image, places in enumerate(known):
            points = places(GRID)
            rows = weights[image, cells(points.person, FRAME, GRID)]
            errors = position_errors(rows, torch.from_numpy(points.garment), GRID, FRAME)
            torch.testing.assert_close(measured.errors[image], errors.mean(dim=0), rtol=1e-4, atol=1e-4)


def test_exact_places_are_read_at_the_middles_of_the_cells():
    places = np.full((128, 96, 2), np.nan, np.float32)
    places[48, 16], places[16, 80] = (3, 5), (7, 9)
    known = exact_positions(places, GRID)
    assert known.person.tolist() == [[80, 16], [16, 48]]
    assert known.garment.tolist() == [[7, 9], [3, 5]]
    assert known.frame == FRAME


def test_points_to_show_are_far_apart():
    places = np.moveaxis(np.mgrid[0:96, 0:128], 0, -1).transpose(1, 0, 2).astype(np.float32)
    points = spread_points(exact_positions(places, (32, 24))).person
    assert len(points) == 3
    assert np.linalg.norm(points[1] - points[2]) > 90


def test_queries_are_averaged_before_images():
    errors = np.zeros((2, 3, 5))
    errors[0, :, 0], errors[1, :, 0] = (1, 2, np.nan), (3, 6, np.nan)
    errors[:, 2] = np.nan
    report = summary(errors, ["coarse", "fine"], [(16, 12), (32, 24)])
    assert report["images"] == 2
    assert report["attention_error_px"]["value"] == 3
    assert report["layers"]["fine"]["attention_error_px"] == 4.5
    with pytest.raises(InputError, match="no pair has a known place"):
        summary(np.full((1, 2, 5), np.nan), ["coarse"], [(16, 12)])


def test_a_checkpoint_is_measured_by_exact_map_and_by_matches(pipeline, tmp_path: Path):
    save(pipeline, tmp_path / "model")
    root = tmp_path / "world"
    write_world(root, train_pairs=1, test_pairs=3, height=128, width=96, exact_map=True, workers=1)
    data = HeldOutData(root=str(root), height=64, width=48)
    config = AttentionError(
        checkpoint=str(tmp_path / "model"), data=data, device="cpu", output=str(tmp_path / "out"), timesteps=[50, 450]
    )
    table = attention_error(config)
    report = json.loads((tmp_path / "out" / "attention_error.json").read_text())
    assert report["images"] == 3
    assert [layer["grid"] for layer in report["layers"].values()] == [[8, 6], [16, 12]]
    # random attention is nearly even: every query expects the garment's middle, and the entropy is ln N_k
    assert 40 < report["attention_error_px"]["value"] < 200
    assert report["layers"][pipeline.unet.hooked_layers("middle")[0]]["entropy"] == pytest.approx(math.log(48), rel=0.1)
    assert "| 8 × 6 |" in table
    assert read_image(tmp_path / "out" / "attention_maps.png").shape[1] > 4 * 192
    cut_short = root / "test" / "exact_map" / "00001_00.npz"
    cut_short.write_bytes(cut_short.read_bytes()[:200])
    with pytest.raises(InputError, match=r"00001_00\.npz: not an exact map"):
        attention_error(config)
    matches = tmp_path / "matches"
    matches.mkdir()
    for index in range(3):
        (matches / f"{index:05d}_00_sift_matches.json").write_text("[[[50, 60], [50, 60]]]" if index else "[]")
    config.matches, config.matches_frame, config.output = str(matches), [128, 96], str(tmp_path / "by_matches")
    attention_error(config)
    assert json.loads((tmp_path / "by_matches" / "attention_error.json").read_text())["images"] == 2
    config.matches = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nowhere: no such folder of matches"):
        attention_error(config)


def test_the_attention_of_updates_is_that_of_the_merged_checkpoint(pipeline, tmp_path: Path, capfd):
    model, update, merged = (str(tmp_path / name) for name in ("model", "update", "merged"))
    save(pipeline, model)
    write_update(pipeline, Path(update))
    convert_checkpoint(ConvertCheckpoint(input=model, lora=update, lora_weight=0.5, output=merged))
    tiny_autoencoder().save_pretrained(tmp_path / "tiny")
    root = tmp_path / "world"
    write_world(root, train_pairs=1, test_pairs=2, height=128, width=96, exact_map=True, workers=1)

    def report_of(name: str, checkpoint: str, **changes: object) -> str:
        config = AttentionError(
            checkpoint=checkpoint,
            data=HeldOutData(root=str(root), height=64, width=48),
            device="cpu",
            output=str(tmp_path / name),
            timesteps=[50],
            limit=1,
            **changes,  # type: ignore[arg-type]
        )
        attention_error(config)
        return (tmp_path / name / "attention_error.json").read_text()

    base = report_of("base", model)
    tuned = report_of("tuned", model, lora=update, lora_weight=0.5)
    assert "float32" not in capfd.readouterr().err  # a warning of diffusers
    assert tuned != base
    assert tuned == report_of("expected", merged)
    assert report_of("off", model, lora=update, lora_weight=0.0) == base
    assert report_of("preview", model, autoencoder=str(tmp_path / "tiny")) != base


def test_a_gpu_is_set_up_before_attention_is_observed(pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save(pipeline, tmp_path / "model")
    prepared: list[torch.device] = []
    monkeypatch.setattr(devices, "set_up_gpu", prepared.append)
    load_observed(str(tmp_path / "model"), AttentionError(device="cpu"), (64, 48))
    assert prepared == [torch.device("cpu")]


def test_attention_that_is_not_finite_is_no_score(pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An image without known places, in contrast, is left out."""
    save(pipeline, tmp_path / "model")
    root = tmp_path / "world"
    write_world(root, train_pairs=1, test_pairs=2, height=128, width=96, exact_map=True, workers=1)
    config = AttentionError(
        checkpoint=str(tmp_path / "model"),
        data=HeldOutData(root=str(root), height=64, width=48),
        device="cpu",
        output=str(tmp_path / "out"),
        timesteps=[50],
    )
    whole, calls = module.attention_rows, []

    def first_is_nan(*arguments: object) -> torch.Tensor:
        calls.append(1)
        return whole(*arguments) * (torch.nan if len(calls) == 1 else 1)

    monkeypatch.setattr(module, "attention_rows", first_is_nan)
    with pytest.raises(
        InputError, match=r"model: the attention is NaN or infinite for 1 of 2 persons, e\.g\. 00000_00"
    ):
        attention_error(config)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "places",
    [
        None,
        np.zeros(3, np.float16),
        np.zeros((4, 3, 3), np.float16),
        np.zeros((4, 3, 2), int),
        np.array(["a"]),
        np.zeros((0, 3, 2)),
    ],
    ids=["another name", "one axis", "three values", "integers", "text", "no row"],
)
def test_a_map_of_another_form_is_named(tmp_path: Path, places: np.ndarray | None):
    path = tmp_path / "00000_00.npz"
    np.savez_compressed(path, **({"other": np.zeros(1)} if places is None else {"person_to_garment": places}))
    with pytest.raises(InputError, match=rf"^{path}: "):
        read_map(path)


@pytest.mark.parametrize("change", ["empty", "one array", "zeros", "byte"])
def test_a_damaged_map_is_named(tmp_path: Path, change: str):
    path = tmp_path / "00000_00.npz"
    np.savez_compressed(path, person_to_garment=np.random.default_rng(0).normal(size=(64, 48, 2)))
    content = bytearray(path.read_bytes())
    if change == "one array":
        np.save(tmp_path / "a.npy", np.zeros((4, 3, 2)))
        content = bytearray((tmp_path / "a.npy").read_bytes())
    elif change == "zeros":
        content[60:-200] = bytes(len(content) - 260)
    elif change == "byte":
        content[len(content) // 2] ^= 255
    path.write_bytes(b"" if change == "empty" else bytes(content))
    with pytest.raises(InputError, match=rf"^{path}: not an exact map of the toy world"):
        read_map(path)


@pytest.mark.parametrize("place", [np.inf, -3.0, 1e30], ids=str)
def test_a_map_that_points_outside_the_garments_picture_is_named(tmp_path: Path, place: float):
    path = tmp_path / "00000_00.npz"
    places = np.full((64, 48, 2), np.nan)
    places[3, 4] = place, 5
    np.savez_compressed(path, person_to_garment=places)
    with pytest.raises(InputError, match=rf"^{path}: points outside the garment's picture"):
        read_map(path)


def test_a_pipe_in_the_place_of_a_map_does_not_block(tmp_path: Path):
    path = tmp_path / "00000_00.npz"
    os.mkfifo(path)
    with pytest.raises(InputError, match=rf"^{path}: is a pipe"):
        read_map(path)
