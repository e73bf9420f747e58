"""Locks that allow only one run at a time to write to an output folder."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from siftvton.errors import InputError, UsageError
from siftvton.locks import LAUNCHERS, LOCK, is_main_process, only_writer

HOLD = """
import os, sys, time
from siftvton.locks import only_writer
with only_writer(sys.argv[1]):
    if "fork" not in sys.argv or os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


@pytest.fixture
def held(tmp_path: Path):
    """A function that starts a process which holds the lock of ``tmp_path / "out"``."""
    started = []

    def start(*arguments: str) -> tuple[subprocess.Popen, str]:
        command = [sys.executable, "-c", HOLD, str(tmp_path / "out"), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_another_process_is_refused_with_the_owner_until_it_dies(held, tmp_path: Path):
    owner, _ = held()
    with pytest.raises(InputError, match=rf"out: is being written by another run \(process {owner.pid} on host .*\)"):
        only_writer(tmp_path / "out").__enter__()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with only_writer(tmp_path / "out"):
        pass


def test_a_child_that_outlives_its_killed_parent_holds_no_lock(held, tmp_path: Path):
    owner, child = held("fork")
    try:
        with pytest.raises(InputError):
            only_writer(tmp_path / "out").__enter__()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        with only_writer(tmp_path / "out"):
            pass
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_nothing_of_the_lock_stays_in_the_folder(tmp_path: Path):
    with only_writer(tmp_path / "a" / "b"):
        assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [LOCK]
        (tmp_path / "a" / "kept").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"], (
        "a folder that was made and stayed empty is removed again"
    )
    (tmp_path / "empty").mkdir()
    with only_writer(tmp_path / "empty"):
        pass
    assert list((tmp_path / "empty").iterdir()) == [], "a folder that already existed stays"
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path / "empty"):
        raise ZeroDivisionError
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_link_to_a_folder_is_the_folder(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with only_writer(tmp_path / "out"), pytest.raises(InputError, match="disk: is being written"):
        only_writer(tmp_path / "disk").__enter__()


def test_a_subfolder_and_another_name_have_locks_of_their_own(tmp_path: Path):
    with only_writer(tmp_path), only_writer(tmp_path / "sub"), only_writer(tmp_path, ".model.lock"):
        pass


def test_a_link_planted_in_the_place_of_the_lock_is_not_written_through(tmp_path: Path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        only_writer(tmp_path / "out").__enter__()
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match=r"output=.*out: a file is in the place of a folder"):
        only_writer(tmp_path / "out").__enter__()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gets_a_warning(monkeypatch, capsys, tmp_path: Path, number: int):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with only_writer(tmp_path / "out"):
        (tmp_path / "out").mkdir(exist_ok=True)
    message = capsys.readouterr().err
    assert message.startswith(f"warning: {tmp_path / 'out'}: this file system has no locks")
    assert message.count("\n") == 1


def test_a_folder_that_may_not_be_written_to_raises_the_systems_error(monkeypatch, tmp_path: Path):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / "out" / LOCK))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(OSError, match="Read-only"):
        only_writer(tmp_path / "out").__enter__()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("variables", "main"),
    [
        ({}, True),
        ({"RANK": "0", "WORLD_SIZE": "4"}, True),
        ({"RANK": "3", "WORLD_SIZE": "4"}, False),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, False),
        ({"RANK": "1"}, True),  # a leftover variable: accelerate also takes this for the only process
        ({"RANK": "1", "WORLD_SIZE": "1"}, True),
    ],
)
def test_one_process_of_a_run_is_the_main_one(monkeypatch, variables: dict[str, str], main: bool):
    for name in sum(LAUNCHERS, ()):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is main
