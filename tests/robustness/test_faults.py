"""A handful of the disturbed runs (``make faults`` tries all)."""

from collections.abc import Iterator

import pytest
from robustness.faults import cases
from robustness.harness import Case, attempt
from robustness.world import World, made_world

# The quickest of each sort. tests/training/test_faults.py disturbs trainings.
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
def test_a_disturbed_run_ends_as_one_in_one_piece(case: Case, world: World) -> None:
    verdict = attempt(case, world)
    assert verdict.outcome.is_good, f"{verdict.outcome.value}: {verdict.why}; make faults CASE='{case.id}'"


def test_every_tried_case_is_one_of_the_cases() -> None:
    assert {case.id for case in cases()} >= set(TRIED)
