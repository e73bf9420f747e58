"""Traces of some updates."""

import gzip
import json
from pathlib import Path

import pytest
from runs import metrics, run, same_weights

from siftvton.errors import UsageError
from siftvton.training.loop import train


def test_the_trace_holds_the_updates_and_training_is_the_same(configuration):
    plain = run(configuration("plain", updates=5))
    profiled = run(configuration("profiled", updates=5, profile_updates=2))
    assert metrics(profiled) == metrics(plain)
    assert same_weights(profiled, plain)
    (path,) = (profiled / "profile").iterdir()
    assert path.name.startswith("process-0.")
    names = [event.get("name", "") for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]]
    assert {name for name in names if name.startswith("ProfilerStep#")} == {"ProfilerStep#2", "ProfilerStep#3"}
    assert "aten::addmm" in names
    run(configuration("profiled", updates=6))  # the key may change when a run continues
    assert [entry["update"] for entry in metrics(profiled)] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_is_too_short_is_refused(configuration):
    config = configuration(updates=4, profile_updates=3)
    with pytest.raises(UsageError, match=r"train\.profile_updates=3 requires a run of 5 updates or more, .* has 4;"):
        train(config)
    assert not Path(config.output).exists()
