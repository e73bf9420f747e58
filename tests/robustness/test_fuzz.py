"""A part of the generated cases (``make fuzz`` runs all), and tests of the harness itself."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from robustness import harness
from robustness.fuzz import all_cases, sample
from robustness.harness import Bench, Case, Finished, Outcome, Verdict, attempt, judged
from robustness.tally import table, tally
from robustness.world import World, made_world

CASES = list(all_cases())
SHARE = 45  # one in 45 cases is run here


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with made_world() as world:
        yield world


@pytest.mark.parametrize("case", sample(CASES, SHARE), ids=lambda case: case.id)
def test_a_broken_input_is_read_correctly_or_refused_in_one_line(case: Case, world: World) -> None:
    verdict = attempt(case, world)
    assert verdict.outcome.is_good, f"{verdict.outcome.value}: {verdict.why}; make fuzz CASE='{case.id}'"


def test_there_are_enough_cases_and_each_has_its_own_name() -> None:
    assert len(CASES) >= 1600
    assert len({case.id for case in CASES}) == len(CASES)


def finished(code: int | None, *lines: str, raised: str = "") -> Finished:
    return Finished("infer", code, "", "".join(f"{line}\n" for line in lines), raised)


def test_only_a_line_that_names_the_file_is_clear() -> None:
    bar = " 50%|#####     | 1/2 [00:00<00:00,  4.60picture/s]\r100%|##########| 2/2 [00:00<00:00,  4.60picture/s]"
    assert judged(finished(1, bar, "infer.py: a.jpg: no such file"), ["a.jpg"]).outcome is Outcome.CLEAR
    assert judged(finished(1, "infer.py: 1 of 2 pairs failed:", "  a: no such file"), ["a"]).outcome is Outcome.CLEAR
    for unclear in (
        finished(1, "infer.py: something is wrong"),
        finished(1, "infer.py: a.jpg", "and more"),
        finished(1, "Traceback (most recent call last):", "infer.py: a.jpg"),
        finished(70, "infer.py: a.jpg"),
        finished(1),
        finished(None, raised="ValueError: a.jpg"),
    ):
        assert judged(unclear, ["a.jpg"]).outcome is Outcome.TRACEBACK


def test_a_result_must_be_correct() -> None:
    assert judged(finished(0)).outcome is Outcome.WRONG, "only a refusal is right"
    assert judged(finished(0), same=lambda: "").outcome is Outcome.RIGHT
    assert judged(finished(0), same=lambda: "other pixels").outcome is Outcome.WRONG
    line = finished(1, "infer.py: a.jpg")
    assert judged(line, ["a.jpg"], refusable=False).outcome is Outcome.WRONG
    assert judged(line, ["a.jpg"], others=lambda: "b.jpg is missing").outcome is Outcome.WRONG


def _waits(bench: Bench) -> None:
    os.mkfifo(bench.inputs / "fifo")
    (bench.inputs / "fifo").read_bytes()


def _asks(_: Bench) -> None:
    with pytest.raises(OSError, match="no network"):
        socket.getaddrinfo("huggingface.co", 443)


@pytest.mark.parametrize(
    ("act", "trace"),
    [
        (lambda bench: bench.canary.touch(), "foreign code ran"),
        (lambda bench: Path("x").touch(), "working folder holds x"),
        (lambda bench: (Path.home() / "x").touch(), "home folder holds x"),
        (lambda bench: os.system("gs"), "foreign code ran"),
        (lambda bench: (bench.world.data / "world.json").write_text("{}"), "changed data/world.json"),
        (_waits, "still busy"),
        (_asks, "asked the network for"),
    ],
    ids=["canary", "working folder", "home", "Ghostscript", "inputs", "hang", "network"],
)
def test_traces_outside_of_the_output_are_found(act: Callable[[Bench], object], trace: str) -> None:
    with made_world() as own:
        own.data  # noqa: B018, made before the case, so that a change is noticed

        def case(bench: Bench) -> Verdict:
            act(bench)
            return harness.RIGHT

        verdict = attempt(Case("kind", "name", case, limit=1 if act is _waits else harness.LIMIT), own)
    assert verdict.outcome is Outcome.WRONG
    assert trace in verdict.why


def test_the_table_counts_by_kind_and_outcome() -> None:
    lines = table({("a", Outcome.RIGHT): 2, ("a", Outcome.WRONG): 1, ("b", Outcome.CLEAR): 4}).splitlines()
    assert lines[2:] == ["| a | 3 | 2 | 0 | 0 | 1 |", "| b | 4 | 0 | 4 | 0 | 0 |", "| all | 7 | 2 | 4 | 0 | 1 |"]


def test_a_wrong_case_sets_the_exit_code(capsys: pytest.CaptureFixture) -> None:
    outcomes = {"right": harness.RIGHT, "bad": harness.wrong("other pixels")}
    cases = [Case("k", name, lambda _, verdict=verdict: verdict) for name, verdict in outcomes.items()]
    assert tally(cases, "make fuzz", "k/right") == 0
    assert tally(cases, "make fuzz") == 1
    assert "wrong: make fuzz CASE='k/bad': other pixels" in capsys.readouterr().out
    assert tally(cases, "make fuzz", "nothing") == 2
