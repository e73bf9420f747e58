"""Decisions and errors that several processes share."""

import subprocess
import sys

import pytest
from accelerate.state import AcceleratorState, GradientState, PartialState

from siftvton.devices import PATIENCE, SHARDING, on_main, process_state
from siftvton.errors import InputError, UsageError

TOGETHER = """
import os
import torch
from siftvton.devices import errors_shared, on_main, process_state
from siftvton.errors import InputError

def say(*words):  # in one call, since both processes write to one pipe
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())


state = process_state()
limit = torch.distributed.distributed_c10d._get_default_group()._get_backend(torch.device("cpu")).options._timeout
say("waits", limit.total_seconds())
say("told", on_main(lambda: f"by {state.process_index}"))

try:
    with errors_shared():
        if state.process_index == 1:
            raise InputError("rank 1 has no data")
except InputError as error:
    say("heard", error)
try:
    on_main(lambda: open("/nowhere/at/all"))
except (InputError, OSError) as error:
    say("not opened")
torch.distributed.destroy_process_group()
"""


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Reset accelerate's state, which belongs to the process."""
    yield
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()


def test_an_error_or_a_decision_of_one_process_reaches_all(tmp_path):
    program = tmp_path / "together.py"
    program.write_text(TOGETHER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(program)]
    done = subprocess.run(launch, check=True, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    for line in (f"waits {PATIENCE.total_seconds()}", "told by 0", "heard rank 1 has no data", "not opened"):
        assert lines.count(line) == 2, line


def test_one_process_decides_alone():
    process_state()
    assert on_main(lambda: 5) == 5
    with pytest.raises(InputError, match="bad"):
        on_main(lambda: _fail("bad"))


def _fail(message: str) -> None:
    raise InputError(message)


@pytest.mark.parametrize("variable", SHARDING)
def test_a_network_divided_among_processes_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(variable, "true")
    with pytest.raises(UsageError, match=f"{variable}=true: .* is not supported"):
        process_state()
    monkeypatch.setenv(variable, "false")
    assert process_state().num_processes == 1
