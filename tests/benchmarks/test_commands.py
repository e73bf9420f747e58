"""Each benchmark begins with its command lines, and every page that names a benchmark names one that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "__main__" in path.read_text("utf-8")]
PAGES = [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "docs").rglob("*.md"), *(ROOT / "checkpoints").rglob("*.md")]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_a_benchmark_begins_with_its_command_line(path: Path):
    title, empty, *lines = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").splitlines()
    assert title.endswith(".")
    assert empty == ""
    assert any(line.startswith(f"python benchmarks/{path.name}") for line in lines)


def test_every_benchmark_that_is_named_exists():
    named = {
        (page.name, name) for page in PAGES for name in re.findall(r"benchmarks/(\w+)\.py", page.read_text("utf-8"))
    }
    assert ("Makefile", "training_step") in named
    for page, name in named:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file(), f"{page}: {name}"
