"""Settings that contradict each other are refused before anything is loaded."""

from pathlib import Path

import pytest

from siftvton.errors import UsageError
from siftvton.training.loop import train


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optimizer": "adafactor", "adam_beta2": 0.99},
            r"train\.adam_beta2=0\.99 is not allowed with train\.optimizer=adafactor, .*set train\.optimizer=adamw",
        ),
        (
            {"save_variant": True},
            r"train\.save_variant=true is not allowed with train\.save_dtype=float32.*; set train\.save_dtype=float16",
        ),
        (
            {"save_variant": True, "save_dtype": "float16", "trainable": "lora"},
            r"train\.save_variant=true is not allowed with train\.trainable=lora.*; set train\.save_variant=false",
        ),
        ({"run_name": "mine"}, r"train\.run_name=mine is not allowed with train\.tracker=null"),
        (
            {"run_name": "mine", "tracker": "dvclive"},
            r"train\.run_name=mine is not allowed with train\.tracker=dvclive; .*one of the trackers aim, clearml, ",
        ),
        ({"run_name": "../mine", "tracker": "tensorboard"}, r"train\.run_name='\.\./mine' is not allowed; use letters"),
        ({"run_name": "", "tracker": "tensorboard"}, r"train\.run_name='' is not allowed; use letters"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(configuration, settings, message):
    config = configuration(**settings)
    config.data.root = "nowhere"  # nothing is read before the refusal
    with pytest.raises(UsageError, match=message):
        train(config)
    assert not Path(config.output).exists()


@pytest.mark.parametrize("name", ["model", "best"])
def test_weights_that_the_run_would_replace_are_refused_to_start_from(configuration, name: str):
    config = configuration()
    config.model.pretrained = str(Path(config.output, name))
    with pytest.raises(
        UsageError, match=rf"^model\.pretrained=.*{name}: training would replace this folder; use another"
    ):
        train(config)
