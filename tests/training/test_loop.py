"""Complete runs at the smallest size: what a stop, a batch size or a mode may change, and what not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import metrics, run, same_weights, validations, weights
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from siftvton.errors import InputError, UsageError
from siftvton.model.garment_encoder import GarmentEncoder
from siftvton.model.unet import TryOnUNet
from siftvton.sampling.loading import load
from siftvton.settings import differences, save_configuration
from siftvton.training import loop, records
from siftvton.training.loop import train


def test_a_run_writes_a_model_checkpoints_metrics_and_its_configuration(configuration):
    config = configuration(validate_every=2)
    output = run(config)
    assert [entry["update"] for entry in metrics(output)] == [1, 2, 3, 4]
    assert all(entry["sift"] > 0 for entry in metrics(output))
    assert [entry["learning_rate"] for entry in metrics(output)] == pytest.approx([1e-5, 5.05e-4, 1e-3, 1e-3])
    assert sorted(p.name for p in (output / "checkpoints").iterdir()) == ["update-0000002", "update-0000004"]
    assert sorted(p.name for p in (output / "validation").iterdir()) == ["update-0000002.png", "update-0000004.png"]
    assert differences(config, output / "train.yaml") == []
    assert load(output / "model").stride == 16


def test_a_stopped_run_continues_bit_for_bit(configuration):
    straight = run(configuration("straight", updates=4))
    stopped = run(configuration("stopped", updates=2))
    before = weights(stopped)
    resumed = run(configuration("stopped", updates=4))
    assert metrics(resumed) == metrics(straight)
    expected = weights(straight)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(resumed).items())
    assert not all(torch.equal(tensor, expected[name]) for name, tensor in before.items())


def test_a_noise_offset_survives_a_stop_and_changes_the_run(configuration):
    straight = run(configuration("straight", updates=4, noise_offset=0.1))
    run(configuration("stopped", updates=2, noise_offset=0.1))
    resumed = run(configuration("stopped", updates=4, noise_offset=0.1, workers=1))
    assert metrics(resumed) == metrics(straight)
    assert same_weights(resumed, straight)
    assert metrics(straight)[0]["noise"] != metrics(run(configuration("plain", updates=1)))[0]["noise"]
    with pytest.raises(UsageError, match=r"train\.noise_offset: 0\.1 -> 0\.2"):
        train(configuration("stopped", updates=4, noise_offset=0.2))


def test_updates_after_the_last_checkpoint_are_logged_once(configuration):
    output = run(configuration(updates=2))
    with (output / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"update": 3, "loss": 0.0}) + "\n")  # a stop after update 3, before its checkpoint
    run(configuration(updates=3))
    assert [entry["update"] for entry in metrics(output)] == [1, 2, 3]
    assert metrics(output)[2]["loss"] > 0


@pytest.mark.parametrize("other", [{"batch_size": 2, "accumulation": 2}, {"batch_size": 4, "workers": 2}])
def test_batches_and_workers_change_results_by_rounding_only(configuration, other):
    whole = run(configuration("whole", updates=3, batch_size=4))
    split = run(configuration("split", updates=3, **other))
    for ours, theirs in zip(metrics(split), metrics(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_two_processes_equal_one(configuration, tmp_path: Path):
    """As in the published training: with frozen parts, and gradients accumulated before they are exchanged."""
    start = run(configuration("base", updates=1)) / "model"
    one, config = (
        configuration(
            name, updates=2, batch_size=1, accumulation=accumulation, trainable="finetune", cpu=False, validate_every=1
        )
        for name, accumulation in (("one", 4), ("two", 2))
    )
    one.model.pretrained = config.model.pretrained = str(start)
    one = run(one)
    save_configuration(config, tmp_path / "two.yaml")
    script = Path(__file__).parents[2] / "scripts" / "train.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    subprocess.run(
        [*launch, script, "--config", tmp_path / "two.yaml"],
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=300,
    )
    for log in (metrics, validations):
        for ours, theirs in zip(log(Path(config.output)), log(one), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3)


def test_gradient_checkpointing_changes_results_by_rounding_only(configuration):
    plain = run(configuration("plain", updates=3))
    checkpointed = run(configuration("checkpointed", updates=3, gradient_checkpointing=True))
    for ours, theirs in zip(metrics(checkpointed), metrics(plain), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_mixed_precision_gives_the_same_losses_less_exactly(configuration):
    single = metrics(run(configuration("single", updates=2)))
    mixed = metrics(run(configuration("mixed", updates=2, mixed_precision="bf16")))
    for ours, theirs in zip(mixed, single, strict=True):
        assert ours == pytest.approx(theirs, rel=0.05)
        assert ours["noise"] != theirs["noise"]


def test_fine_tuning_does_not_change_the_frozen_parts(configuration):
    start = run(configuration("base", updates=1))
    config = configuration("finetuned", updates=2, trainable="finetune")
    config.model.pretrained = str(start / "model")
    before, after = weights(start), weights(run(config))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = ("unet.encoder.time_embedding", "unet.encoder.down_blocks", "unet.mid_block", "image_")
    assert not any(name.startswith(frozen) for name in changed)
    trained = ("garment_encoder.encoder.time_embedding", "garment_encoder.garment_conv", "unet.encoder.conv_in")
    for part in (*trained, "unet.up_blocks", "unet.garment_attention", "unet.conv_norm_out", "unet.conv_out"):
        assert any(name.startswith(part) for name in changed), part


def test_supervision_changes_the_run_and_its_loss_adds_up(configuration):
    supervised = metrics(run(configuration("supervised", updates=2, dropout=0.0)))
    plain = metrics(run(configuration("plain", {"weight": 0.0}, updates=2, dropout=0.0)))
    assert [entry["sift"] for entry in plain] == [0, 0]
    assert supervised[0]["noise"] == pytest.approx(plain[0]["noise"], rel=1e-6)
    assert supervised[0]["loss"] == pytest.approx(plain[0]["loss"] + 0.05 * supervised[0]["sift"], rel=1e-5)


def test_late_timesteps_and_dropped_images_are_not_supervised(configuration):
    early = metrics(run(configuration("early", {"max_timestep": 0}, updates=2)))
    dropped = metrics(run(configuration("dropped", updates=2, dropout=1.0)))
    assert [entry["sift"] for entry in early + dropped] == [0, 0, 0, 0]


def test_attention_total_variation_can_be_used_alone(configuration):
    entries = metrics(run(configuration("atv", {"weight": 0.0, "atv_weight": 0.001}, updates=2, dropout=0.0)))
    assert all(entry["atv"] > 0 and entry["sift"] == 0 for entry in entries)


def test_gradients_are_clipped_only_if_a_limit_is_set(configuration):
    free = run(configuration("free", updates=2))
    clipped = run(configuration("clipped", updates=2, max_gradient_norm=1e-9))
    assert metrics(free)[0] == metrics(clipped)[0]
    assert metrics(free)[1] != metrics(clipped)[1]


def test_pairs_without_matches_can_be_trained_on(configuration, tmp_path: Path):
    config = configuration()
    config.data.matches = str(tmp_path / "empty")
    for n in range(6):
        (tmp_path / "empty").mkdir(exist_ok=True)
        (tmp_path / "empty" / f"{n:05d}_00_sift_matches.json").write_text("[]")
    assert [entry["sift"] for entry in metrics(run(config))] == [0, 0, 0, 0]


def test_starting_a_finished_run_again_changes_nothing(configuration):
    output = run(configuration(updates=2))
    before, logged = weights(output), metrics(output)
    run(configuration(updates=2))
    assert metrics(output) == logged
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(output).items())


def test_tensorboard_gets_losses_and_validation_sheets(configuration):
    output = run(configuration(updates=2, tracker="tensorboard", validate_every=2))
    events = EventAccumulator(str(output / "siftvton")).Reload()
    assert {"loss", "noise", "sift", "learning_rate"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["validation"]


def test_models_are_written_in_half_precision_and_training_goes_on_exactly(configuration):
    exact = run(configuration("exact", updates=4, validate_every=2))
    half = run(configuration("half", updates=4, validate_every=2, save_dtype="float16", save_variant=True))
    assert metrics(half) == metrics(exact)
    for folder in ("model", "best"):
        ours, theirs = weights(half, folder), weights(exact, folder)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name].half()) for name, tensor in ours.items())
    assert (half / "best" / "unet" / "diffusion_pytorch_model.fp16.safetensors").is_file()
    run(configuration("half", updates=4, validate_every=2))  # a finished run writes its model again, exactly
    assert same_weights(half, exact)


def test_the_model_is_pushed_and_a_refusal_comes_before_training(configuration, monkeypatch: pytest.MonkeyPatch):
    claimed, pushed = [], []
    monkeypatch.setattr(loop.hub, "claim", claimed.append)
    monkeypatch.setattr(loop.hub, "push", lambda *given: pushed.append(given))
    output = run(configuration(updates=2, push_to_hub="owner/name"))
    assert (claimed, pushed) == (["owner/name"], [(output / "model", "owner/name")])

    def refuse(repository: str) -> None:
        raise InputError(f"{repository}: no")

    monkeypatch.setattr(loop.hub, "claim", refuse)
    with pytest.raises(InputError, match="owner/name: no"):
        train(configuration("refused", updates=2, push_to_hub="owner/name"))
    assert not (Path(configuration("refused").output) / "metrics.jsonl").exists()


def test_another_configuration_is_refused_and_shown(configuration):
    run(configuration(updates=2))
    with pytest.raises(UsageError, match=r"train\.learning_rate: 0\.001 -> 0\.5"):
        train(configuration(updates=2, learning_rate=0.5))


def test_the_cosine_schedule_ends_with_the_run_and_fixes_its_length(configuration):
    rates = [entry["learning_rate"] for entry in metrics(run(configuration(schedule="cosine")))]
    assert rates == pytest.approx([1e-5, 5.05e-4, 1e-3, 5e-4])
    with pytest.raises(UsageError, match=r"train\.updates: 4 -> 6"):
        train(configuration(schedule="cosine", updates=6))


def test_a_new_run_in_the_folder_of_another_is_refused(configuration):
    config = configuration(updates=2)
    run(config)
    config.resume = None
    with pytest.raises(UsageError, match="holds a run"):
        train(config)


def test_a_named_checkpoint_is_resumed_or_reported_as_missing(configuration):
    config = configuration(updates=4)
    straight = metrics(run(config))
    config.resume = "update-0000002"
    assert metrics(run(config)) == straight
    config.resume = "update-0000009"
    with pytest.raises(InputError, match="it holds: update-0000002, update-0000004"):
        train(config)


def test_resuming_an_older_checkpoint_removes_the_later_ones(configuration):
    """Otherwise the next start would take a checkpoint of the abandoned branch for the latest."""
    config = configuration(updates=4)
    output = run(config)
    config.resume, config.train.updates = "update-0000002", 3
    run(config)
    assert sorted(path.name for path in (output / "checkpoints").iterdir()) == ["update-0000002", "update-0000003"]


def test_a_run_continues_only_with_the_same_number_of_images_per_update(configuration):
    straight = metrics(run(configuration("straight", updates=3, batch_size=4)))
    run(configuration("split", updates=2, batch_size=4))
    resumed = metrics(run(configuration("split", updates=3, batch_size=2, accumulation=2)))
    assert resumed[2] == pytest.approx(straight[2], rel=1e-4)
    with pytest.raises(UsageError, match=r"processes = 2, but the updates of this run have 4 images; choose"):
        train(configuration("split", updates=4, batch_size=2))


def test_a_line_of_metrics_cut_short_by_a_stop_is_removed(configuration):
    output = run(configuration(updates=2))
    with (output / "metrics.jsonl").open("a") as file:
        file.write('{"update": 3, "lo')
    run(configuration(updates=3))
    assert [entry["update"] for entry in metrics(output)] == [1, 2, 3]


def test_a_pipe_in_place_of_metrics_does_not_block(tmp_path: Path):
    os.mkfifo(tmp_path / records.METRICS)
    with pytest.raises(InputError, match=r"metrics\.jsonl: is a pipe, .*move it out of the folder"):
        records.cut(tmp_path / records.METRICS, 1)


def test_mistakes_are_named(configuration):
    config = configuration()
    config.model.autoencoder = None
    with pytest.raises(UsageError, match=r"model\.autoencoder=null"):
        train(config)
    config.model.autoencoder = "nowhere"
    with pytest.raises(InputError, match=r"^model\.autoencoder=nowhere: no such folder or file; "):
        train(config)
    config = configuration()
    config.data.height = 60
    with pytest.raises(UsageError, match="multiples of 16"):
        train(config)
    config = configuration()
    config.model.heads = 3
    with pytest.raises(UsageError, match=r"model\.channels="):
        train(config)
    config = configuration(supervision={"atv_weight": 0.001})
    config.model.channels = [16, 32]
    with pytest.raises(UsageError, match=r"atv_weight requires attention at latent stride 2.*channels=\[16, 32\]"):
        train(config)
    with pytest.raises(UsageError, match=r"train\.tracker=nobody"):
        train(configuration(tracker="nobody"))
    config = configuration()
    config.data.matches = "nowhere"
    with pytest.raises(InputError, match="nowhere"):
        train(config)
    assert not Path(config.output).exists()


def test_gradient_checkpointing_is_on_only_if_configured(configuration, monkeypatch: pytest.MonkeyPatch):
    switched = []
    for part in (TryOnUNet, GarmentEncoder):
        monkeypatch.setattr(part, "enable_gradient_checkpointing", lambda self: switched.append(type(self)))
    run(configuration("plain", updates=1))
    assert not switched
    run(configuration("checkpointed", updates=1, gradient_checkpointing=True))
    assert switched == [TryOnUNet, GarmentEncoder]


def test_epochs_give_the_updates_and_a_partial_checkpoint_is_overwritten(configuration):
    config = configuration(updates=None, epochs=1.5, checkpoint_every=1, keep_checkpoints=1)  # 6 images from 4 pairs
    leftover = Path(config.output) / "checkpoints" / ".update-0000003"
    leftover.mkdir(parents=True)
    (leftover / "half").write_text("")
    output = run(config)
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["update-0000003"]
    assert not (output / "checkpoints" / "update-0000003" / "half").exists()
