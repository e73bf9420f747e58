"""A few of the disturbed runs (``make faults`` runs all)."""

from collections.abc import Iterator

import pytest
from robustness.faults import cases
from robustness.harness import Case, attempt
from robustness.world import World, made_world

# The quickest case of each kind. tests/training/test_faults.py disturbs trainings.
TRIED = (
    "signals/preprocess_sift: SIGKILL to the parent",
    "signals/make_toy_data: SIGTERM 0",
    "full disks/infer: files of 2000 bytes",
    "two writers/make_toy_data",
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with made_world() as world:
        yield world


@pytest.mark.parametrize("case", [case for case in cases() if case.id in TRIED], ids=lambda case: case.id)
def test_a_disturbed_run_ends_like_an_uninterrupted_run(case: Case, world: World) -> None:
    verdict = attempt(case, world)
    assert verdict.outcome.is_good, f"{verdict.outcome.value}: {verdict.why}; make faults CASE='{case.id}'"


def test_every_selected_case_exists() -> None:
    assert {case.id for case in cases()} >= set(TRIED)
