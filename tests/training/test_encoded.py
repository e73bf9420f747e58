"""Training pairs that are decoded and encoded only once."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import metrics, run, same_weights

from siftvton.data.dataset import collate
from siftvton.errors import InputError, UsageError
from siftvton.files import read_image, read_json, write_image, write_json
from siftvton.model.inputs import noised
from siftvton.training.encoded import EncodedDataset, LatentDraws
from siftvton.training.parts import empty_batch, model_parts, training_set

NO_DRAWS = LatentDraws(seed=0, dropout=0, steps=1000, scaling_factor=1)


@pytest.fixture
def encoded(configuration, tmp_path: Path):
    """``encoded(output, **train settings)``: a configuration without augmentation that encodes once."""

    def build(output: str, folder: str | None = "encoded", supervision=None, **settings):
        config = configuration(output, supervision, **settings)
        path = None if folder is None else str(tmp_path / folder)
        return replace(config, data=replace(config.data, augment=False, cache_latents=path))

    return build


def test_the_losses_are_those_of_pictures_encoded_in_every_epoch(encoded):
    plain = metrics(run(encoded("plain", None, updates=4)))
    kept = metrics(run(encoded("kept", updates=4)))
    for ours, theirs in zip(kept, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3)  # posteriors are kept in float16


def test_each_pair_is_encoded_once_and_a_second_run_reads_the_files(encoded, tmp_path: Path, monkeypatch):
    first = run(encoded("first", updates=2))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "encoded").iterdir()}
    assert len([path for path in written if path.suffix == ".safetensors"]) == 4
    monkeypatch.setattr(EncodedDataset, "_encode", lambda *_: pytest.fail("encoded again"))
    second = run(encoded("second", updates=2))
    assert same_weights(first, second)


def test_a_changed_picture_or_a_damaged_file_is_encoded_again(encoded, tmp_path: Path, root: Path):
    config = encoded("first", updates=1)
    run(config)
    pairs = training_set(config).pairs
    changed, damaged, kept = (
        EncodedDataset(training_set(config), tmp_path / "encoded", NO_DRAWS).path(p) for p in pairs[:3]
    )
    garment = root / "train" / "cloth" / pairs[0].garment
    before, stamp = garment.read_bytes(), kept.stat().st_mtime_ns
    stored, content = changed.read_bytes(), damaged.read_bytes()
    try:
        write_image(garment, 255 - read_image(garment) // 2)
        damaged.write_bytes(content[:100])
        run(encoded("second", updates=1))
    finally:
        garment.write_bytes(before)
    assert changed.read_bytes() != stored
    assert damaged.read_bytes() == content
    assert kept.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_an_item_is_the_data_sets_with_the_latents_that_training_would_draw(encoded, tmp_path: Path, offset: float):
    config = encoded("run", updates=1, supervision={"atv_weight": 0.001})
    run(config)
    plain = training_set(config)
    vae, _, schedule = model_parts(config)
    dropout = 0.5
    steps, scale = schedule.config.num_train_timesteps, vae.config.scaling_factor
    draws = LatentDraws(config.train.seed, dropout, steps, scale, offset)
    keys = [(3, index) for index in range(4)]
    items = EncodedDataset(plain, tmp_path / "encoded", draws)
    ours, theirs = collate([items[key] for key in keys]), collate([plain[key] for key in keys])
    for name in ("garment", "keep_mask", "garment_224", "worn_mask"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    assert [matches.person.tolist() for matches in ours.matches] == [each.person.tolist() for each in theirs.matches]
    assert (ours.pair, ours.key) == (theirs.pair, theirs.key)
    found, wanted = (noised(vae, schedule, batch, config.train.seed, dropout, offset) for batch in (ours, theirs))
    assert torch.equal(found.timestep, wanted.timestep)
    assert torch.equal(found.conditioned, wanted.conditioned)
    for name in ("sample", "target", "garment_latent"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=0, atol=4e-3)


def test_a_folder_of_another_size_or_with_augmentation_is_refused(encoded, tmp_path: Path):
    run(encoded("run", updates=1))
    config = encoded("other", updates=1)
    with pytest.raises(UsageError, match="holds items of another size; use another folder"):
        run(replace(config, data=replace(config.data, height=32, width=32)))
    with pytest.raises(UsageError, match=r"data\.cache_latents is not allowed with data\.augment=true"):
        run(replace(config, data=replace(config.data, augment=True)))


def test_a_folder_of_another_number_format_is_refused(encoded, tmp_path: Path):
    config = encoded("half", updates=1, mixed_precision="bf16")
    vae, _, _ = model_parts(config)
    items = EncodedDataset(training_set(config), tmp_path / "encoded", NO_DRAWS)
    items.claim(vae, "bf16")
    items.claim(vae, "bf16")
    with pytest.raises(UsageError, match=r"holds items of another train\.mixed_precision; use another folder"):
        run(encoded("exact", updates=1))
    write_json(items.folder / "encoded.json", {"kinds": []})
    with pytest.raises(UsageError, match=r"holds items of another version of siftvton; use another folder"):
        items.claim(vae, "bf16")


def test_a_folder_of_an_earlier_version_is_used_as_it_is(encoded, tmp_path: Path):
    config = encoded("run")
    vae, _, _ = model_parts(config)
    items = EncodedDataset(training_set(config), tmp_path / "encoded", NO_DRAWS)
    items.claim(vae, "bf16")
    path = items.folder / "encoded.json"
    record = read_json(path)
    del record["train.mixed_precision"]
    write_json(path, record)
    items.claim(vae, "no")
    assert read_json(path) == record
    write_json(path, {**record, "size": [32, 32], "autoencoder": ""})
    with pytest.raises(UsageError, match="holds items of another size and autoencoder; use another folder"):
        items.claim(vae, "no")


def test_a_file_that_is_removed_while_training_is_named(encoded, tmp_path: Path):
    config = encoded("run", updates=1)
    run(config)
    items = EncodedDataset(training_set(config), tmp_path / "encoded", NO_DRAWS)
    items.path(items.pairs[0]).unlink()
    with pytest.raises(InputError, match="delete it, and start again"):
        items[0, 0]


def test_the_flow_loss_refuses_items_without_photos(encoded):
    with pytest.raises(UsageError, match=r"not allowed with supervision\.flow_weight above 0"):
        training_set(encoded("run", supervision={"flow_weight": 0.1}))


def test_the_empty_batch_after_an_error_needs_no_autoencoder(encoded, monkeypatch: pytest.MonkeyPatch):
    """On a GPU, the autoencoder is then in main memory."""
    config = encoded("run")
    vae, _, schedule = model_parts(config)
    monkeypatch.setattr(vae, "encode", lambda *_: pytest.fail("encoded"))
    inputs = noised(vae, schedule, empty_batch(config, vae), seed=0, dropout=0)
    assert inputs.sample.shape[1:] == (13, 16, 12)
