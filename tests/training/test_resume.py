"""The keys that a run may change when it continues."""

import re
from pathlib import Path

import pytest
from runs import run

from siftvton.errors import UsageError
from siftvton.settings import values
from siftvton.training.config import Train
from siftvton.training.loop import train
from siftvton.training.resume import ADDED_KEYS, FREE_KEYS, candidates_of


def forget(output: Path, key: str) -> None:
    """Remove a key from the saved configuration, as if an earlier version had written it."""
    path, name = output / "train.yaml", key.rpartition(".")[2]
    text = path.read_text()
    assert re.search(rf"^  {name}: ", text, re.MULTILINE)
    path.write_text(re.sub(rf"^  {name}: .*\n", "", text, flags=re.MULTILINE))


def test_a_key_that_an_earlier_version_did_not_have_counts_with_its_default(configuration):
    output = run(configuration(updates=2))
    forget(output, "train.adam_beta1")
    assert candidates_of(configuration(updates=2))
    with pytest.raises(UsageError, match=r"train\.adam_beta1: 0\.9 -> 0\.5"):
        train(configuration(updates=2, adam_beta1=0.5))


def test_the_listed_keys_exist_and_no_key_is_both_free_and_compared():
    known = {key for key, *_ in values(Train())}
    assert {*ADDED_KEYS, *FREE_KEYS} <= known
    assert not set(ADDED_KEYS) & set(FREE_KEYS)
