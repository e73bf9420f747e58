"""The README's text that claims to run, run."""

import re
from pathlib import Path

import torch

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_supervising_a_stock_model_runs_as_written():
    torch.manual_seed(0)
    code = re.search(r"<!-- supervise -->\n```python\n(.*?)```", README, re.DOTALL)[1]
    variables: dict = {}
    exec(compile(code, "README.md", "exec"), variables)
    assert variables["loss"].item() > 0
    queries = [p.grad for name, p in variables["unet"].named_parameters() if name.endswith("attn2.to_q.weight")]
    assert queries
    assert all(gradient.abs().max() > 0 for gradient in queries)
    assert len([line for line in code.splitlines() if "supervis" in line.lower() or "recorder" in line]) <= 5


def test_every_path_the_readme_names_exists():
    names = re.findall(r"`((?:configs|scripts|siftvton|checkpoints/toy|benchmarks)/[\w/.]*)`", README)
    for name in [*names, *re.findall(r"\]\(([\w/.]+)\)", README)]:
        assert (Path(__file__).parents[1] / name).exists(), name
