"""The benchmark of a GPU runs here at toy size; rows that fail do not end the others."""

import json
import sys
from functools import partialmethod
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import gpu
from cases import Training
from memory import rows_in_time

from siftvton.training import compiling

CPU, TOY = torch.device("cpu"), gpu.SCALES["toy"]


def test_all_parts_are_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu.os, "cpu_count", lambda: 1)
    # The default backend also writes and compiles C++, which takes minutes.
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="aot_eager"))
    gpu.main(["--size", "toy", "--seconds", "inf", "--output", str(tmp_path)])
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {row["part"] for row in rows} == set(gpu.PARTS)
    assert [row for row in rows if "error" in row] == []
    assert all(row["rate"] > 0 and row["seconds"] > 0 for row in rows)
    assert all(row["peak"] > 0 for row in rows if row["part"] != "preprocessing")
    ratios = {(row["pictures"], row["case"]): row["ratio"] for row in rows if "ratio" in row}
    assert len(ratios) == 2 * len(gpu.FORMS)
    assert ratios["64×48", "unsupervised"] == ratios["96×64", "unsupervised"] == 1
    lines = (tmp_path / "gpu.md").read_text().splitlines()
    assert len(lines) == 2 + len(rows)
    assert lines[0].startswith("| part | case | pictures | batch | per second |")


def test_memory_that_is_full_ends_one_row_alone(monkeypatch: pytest.MonkeyPatch):
    update = Training.update

    def small_device(self: Training, optimizer: torch.optim.Optimizer, batch) -> None:
        if gpu.ATTENTION_LOSSES["sift"] is gpu.dense_match_loss:
            raise torch.OutOfMemoryError("out of memory")
        update(self, optimizer, batch)

    monkeypatch.setattr(Training, "update", small_device)
    rows = list(gpu.training_rows(TOY, CPU, TOY.size.pictures, 1))
    assert [row.get("error") for row in rows] == [None, None, "out of memory"]
    assert gpu.ATTENTION_LOSSES["sift"] is not gpu.dense_match_loss


def test_no_row_begins_after_the_time_is_over():
    def rows():
        yield {"case": "first"}
        pytest.fail("the second row began")

    assert list(rows_in_time("part", 0.0, rows())) == [{"case": "part", "error": "not run: out of time"}]


def test_full_size_on_a_machine_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        gpu.main([])
    assert "this machine has no GPU with CUDA; use --size toy" in capsys.readouterr().err
