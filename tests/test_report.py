from pathlib import Path

import numpy as np
import pytest

from siftvton.errors import InputError
from siftvton.files import write_image, write_text
from siftvton.report import write_report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = np.zeros((8, 8, 3), np.uint8)
    for name in (
        "matches/previews.jpg",
        "train/validation/update-0000002.png",
        "against_truth/toy.png",
        "attention/attention_maps.png",
        "scores_unpaired/comparison.png",
    ):
        write_image(tmp_path / name, picture)
    for name in (
        "matches/matches.md",
        "against_truth/toy.md",
        "attention/attention_error.md",
        "attention_tuned/attention_error.md",
        "scores_unpaired/table.md",
        "scores_paired/table.md",
    ):
        write_text(tmp_path / name, f"| {name} <b> |")
    write_text(tmp_path / "train/metrics.jsonl", '{"noise": 1.0, "sift": 0.0}\n{"noise": 0.5, "sift": 2.0}\n')
    return tmp_path


def test_the_page_holds_pictures_tables_and_curves_and_needs_no_other_file(folder: Path):
    page = write_report(folder).read_text()
    assert page.count("data:image/") == 5
    assert "| matches/matches.md &lt;b&gt; |" in page
    assert "2 updates" in page
    assert 'points="0.0,0.0 640.0,80.0"' in page  # noise error, from its top to half
    assert 'points="0.0,160.0 640.0,0.0"' in page  # attention loss, from 0 to its top


def test_a_missing_step_is_named(folder: Path):
    (folder / "scores_paired" / "table.md").unlink()
    with pytest.raises(InputError, match=r"scores_paired/table\.md: no such file; `make demo`"):
        write_report(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no update"),
        ('{"noise": 1.0, "sift": 0.0}\n{"update": 2, "noi', "line 2 has no numbers `noise` and `sift`"),
        ("[1, 2]\n", "line 1 has no numbers"),
        ("3\n", "line 1 has no numbers"),
        ('{"noise": 1.0}\n', "line 1 has no numbers"),
        ('{"noise": null, "sift": 0.0}\n', "line 1 has no numbers"),
        ('{"noise": "x", "sift": 0.0}\n', "line 1 has no numbers"),
        ('{"noise": NaN, "sift": 0.0}\n', "NaN is no JSON number"),
        ('{"noise": 1e400, "sift": 0.0}\n', "line 1 has no numbers"),
        ('{"noise": ' + "1" * 400 + ', "sift": 0.0}\n', "line 1 has no numbers"),
        ("[" * 100_000, "line 1 has no numbers"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_broken_metrics_are_one_line(folder: Path, content: str | bytes, message: str):
    (folder / "train/metrics.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as raised:
        write_report(folder)
    assert "train/metrics.jsonl: " in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (folder / "report.html").exists()


def test_a_table_that_is_no_text_is_named(folder: Path):
    (folder / "matches/matches.md").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"matches\.md: not UTF-8 text"):
        write_report(folder)


def test_a_picture_that_is_none_is_named(folder: Path):
    (folder / "against_truth" / "toy.png").write_text("<!doctype html>")
    with pytest.raises(InputError, match=r"against_truth/toy\.png: cannot be decoded"):
        write_report(folder)
    assert not (folder / "report.html").exists()
