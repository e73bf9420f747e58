"""JSON files: text that is not JSON is refused in one line, and NaN and infinity are not written."""

import math
from pathlib import Path

import pytest

from siftvton.errors import InputError
from siftvton.files import read_json, write_json


def test_what_is_written_is_read_again(tmp_path: Path):
    value = {"a": [1, 2.5, None, "é→"], "b": {}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.json").read_bytes())
    assert read_json(tmp_path / "a.json") == value, "a byte-order mark is not part of the content"


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_not_written(tmp_path: Path, number: float):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": number})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "[" * 100_000, "1" * 5000, b"\xff", b"PK\x03\x04"])
def test_a_file_that_is_not_json_is_refused_in_one_line(tmp_path: Path, text: str | bytes):
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=r"a\.json: not JSON \(") as raised:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")
