"""Damaged files, other files and non-files in place of weights: each is an error of one line; none blocks or runs."""

import json
import os
import pickle
import socket
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from siftvton.errors import InputError
from siftvton.weight_files import read_safetensors, read_sharded, require_regular

NAME = "model.safetensors"
ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
PLAIN = json.dumps({"a": ENTRY}).encode()


def written(folder: Path, header: object, data: int = 16, length: int | None = None) -> Path:
    """A safetensors file with any header, followed by ``data`` bytes."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / NAME).write_bytes(struct.pack("<Q", len(content) if length is None else length) + content + bytes(data))
    return folder / NAME


def test_an_honest_file_is_read_as_the_library_reads_it(tmp_path: Path):
    tensors = {"a": torch.randn(2, 3), "b": torch.ones(0), "c": torch.tensor(2.0).half(), "d": torch.arange(3)}
    save_file(tensors, tmp_path / NAME)
    read = read_safetensors(tmp_path / NAME)
    for name, expected in load_file(tmp_path / NAME).items():
        assert read[name].dtype == expected.dtype
        assert torch.equal(read[name], expected)


@pytest.mark.parametrize(
    ("header", "data", "length"),
    [
        (PLAIN, 15, None),
        (PLAIN, 17, None),
        (PLAIN, 16, len(PLAIN) + 1),
        (PLAIN, 16, 2**62),
        (PLAIN, 16, 0),
        (b"\xff\xfe", 0, None),
        (b"[" * 100_000, 0, None),
        ([], 0, None),
        ({"a": ENTRY | {"dtype": "F99"}}, 16, None),
        ({"a": ENTRY | {"dtype": "F6_E2M3", "data_offsets": [0, 3]}}, 3, None),
        ({"a": ENTRY | {"shape": [-4]}}, 16, None),
        ({"a": ENTRY | {"shape": [2**40, 2**40]}}, 16, None),
        ({"a": ENTRY | {"shape": [4.5]}}, 16, None),
        ({"a": ENTRY | {"data_offsets": [-16, 0]}}, 16, None),
        ({"a": ENTRY | {"data_offsets": [16, 0]}}, 16, None),
        ({"a": ENTRY | {"data_offsets": [0, 2**60]}}, 16, None),
        ({"a": ENTRY, "b": ENTRY}, 16, None),
        ({"a": ENTRY, "b": ENTRY | {"data_offsets": [32, 48]}}, 48, None),
        ({"a": {"shape": [4], "data_offsets": [0, 16]}}, 16, None),
    ],
)
def test_a_damaged_file_is_an_error_of_one_line(tmp_path: Path, header: object, data: int, length: int | None):
    message = rf"{NAME}: (is damaged or not a safetensors file|a has the data type)"
    with pytest.raises(InputError, match=message) as caught:
        read_safetensors(written(tmp_path, header, data, length))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("dtype", "size"), [("C64", 32), ("F4", 2), ("F8_E8M0", 4), ("U64", 32)])
def test_an_unsupported_data_type_is_named(tmp_path: Path, dtype: str, size: int):
    entry = {"dtype": dtype, "shape": [4], "data_offsets": [0, size]}
    with pytest.raises(InputError, match=rf"{NAME}: a has the data type {dtype}, which is not supported; convert"):
        read_safetensors(written(tmp_path, {"a": entry}, size))


def test_anything_but_a_regular_file_is_named_and_not_opened(tmp_path: Path, monkeypatch):
    """Opening a named pipe without a writer waits for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "empty").touch()
    monkeypatch.chdir(tmp_path)  # the path of a socket may have at most about a hundred characters
    with socket.socket(socket.AF_UNIX) as own:
        own.bind("socket")
    cases = {
        "pipe": "is a named pipe; a regular file",
        "folder": "is a folder; a regular file",
        "socket": "is a socket; a regular file",
        "dangling": f"links to {tmp_path}/nowhere, which does not exist",
        "loop": "cannot be read",
        "empty": "the file is empty",
        "nowhere": "no such file",
        "x" * 300: "cannot be read",
        "a\0b": "cannot be read",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            require_regular(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="/dev/null: is a device"):
        require_regular(Path("/dev/null"))


def test_a_link_to_a_file_is_fine(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert require_regular(tmp_path / "link") == tmp_path / "link"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "is a Git LFS pointer.*: git lfs pull"),
        ("<!DOCTYPE html>\n<html>", "is a web page, not the file"),
        ("\ufeff\n <HTML lang=en>", "is a web page, not the file"),
        ('<?xml version="1.0"?><Error/>', "is a web page, not the file"),
    ],
)
def test_a_text_in_place_of_weights_is_named(tmp_path: Path, content: str, message: str):
    (tmp_path / NAME).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=rf"{NAME}: {message}"):
        read_safetensors(tmp_path / NAME)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards and their index."""
    save_file({"a": torch.ones(1)}, tmp_path / "one.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "two.safetensors")
    index(tmp_path, {"a": "one.safetensors", "b": "two.safetensors"})
    return tmp_path


def index(folder: Path, places: object) -> None:
    (folder / f"{NAME}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def test_shards_are_read_by_their_index(shards: Path):
    assert {name: len(tensor) for name, tensor in read_sharded(shards, NAME).items()} == {"a": 1, "b": 2}


class Code:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    "shard", ["../evil.safetensors", "/evil.safetensors", "evil.bin", "two.safetensors/x", 3, None]
)
def test_an_index_may_only_name_safetensors_in_its_folder(shards: Path, monkeypatch, shard: object):
    monkeypatch.chdir(shards)
    for place in (shards / "evil.bin", shards.parent / "evil.safetensors"):
        place.write_bytes(pickle.dumps({"a": Code()}))
    index(shards, {"a": shard, "b": "two.safetensors"})
    with pytest.raises(InputError, match=r"index\.json: names .*; only \.safetensors files in the same folder"):
        read_sharded(shards, NAME)
    assert not (shards / "ran").exists()


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({}, "has no weight_map"),
        ([], "has no weight_map"),
        ({"a": "one.safetensors"}, None),
        ({"a": "one.safetensors", "b": "one.safetensors"}, r"one\.safetensors: has no b, which"),
        ({"a": "two.safetensors", "b": "two.safetensors"}, r"two\.safetensors: has no a, which"),
        ({"a": "one.safetensors", "c": "two.safetensors"}, r"two\.safetensors: holds b, which"),
        ({"a": "three.safetensors"}, r"three\.safetensors: no such file"),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_named(shards: Path, places: object, message: str | None):
    index(shards, places)
    if message is None:
        assert list(read_sharded(shards, NAME)) == ["a"]
        return
    with pytest.raises(InputError, match=message):
        read_sharded(shards, NAME)


def test_a_missing_weights_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=rf"{NAME}: no such file"):
        read_sharded(tmp_path, NAME)
