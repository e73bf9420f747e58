"""What all commands share: help, dry run, one line for every error, and one run at a time in an output folder."""

import errno
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from siftvton import cli
from siftvton.commands import Command
from siftvton.errors import InputError, UsageError
from siftvton.locks import LOCK, only_writer
from siftvton.training.config import Train

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands start and write in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIFTVTON_DEBUG", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path


def called(monkeypatch: pytest.MonkeyPatch, main, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["scripts/train.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.run(Command(Train, main, "vitonhd.yaml"))
    return stopped.value.code


def script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(CHECKOUT / "scripts" / name), *arguments]
    return subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False)


def never(config: Train) -> None:
    raise AssertionError("called")


def test_dry_run_prints_the_resolved_configuration_and_touches_nothing(monkeypatch, capsys, folder: Path):
    before = sorted(folder.rglob("*"))
    assert called(monkeypatch, never, "--dry-run", "train.seed=3") == 0
    assert sorted(folder.rglob("*")) == before
    (folder / "printed.yaml").write_text(capsys.readouterr().out)
    assert cli.load(Train, folder / "printed.yaml").train.seed == 3


def test_help_lists_every_key_with_what_is_allowed(monkeypatch, capsys):
    assert called(monkeypatch, never, "--help") == 0
    text = capsys.readouterr().out
    for key in (
        "data.root=data/vitonhd",
        "supervision.max_timestep=500",
        "train.learning_rate=0.0001",
        "resume=latest",
    ):
        assert f"  {key}\n" in text
    assert "; allowed: middle | all\n" in text
    assert "; allowed: 0 to 999\n" in text
    assert "  data.augment=true\n" in text


@pytest.mark.parametrize(
    ("argument", "remedy"),
    [
        ("--train.seed=3", "write train.seed=3, without dashes"),
        ("--resume", "write resume=…, without dashes"),
        ("--sede", "--help lists all options and keys"),
    ],
)
def test_a_key_with_dashes_is_refused_with_its_right_form(monkeypatch, capsys, argument: str, remedy: str):
    assert called(monkeypatch, never, argument, "3") == 2
    message = capsys.readouterr().err
    assert argument in message
    assert message.endswith(f"{remedy}\n")


def fail(error: BaseException):
    def main(config: Train) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a.jpg: no"), 1),
        (InputError("a list: InputError: is no end of it"), 1),
        (UsageError("b=3"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_users_mistake_is_one_line_and_an_exit_code(monkeypatch, capsys, error: BaseException, code: int):
    assert called(monkeypatch, fail(error)) == code
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(error) in message


def test_ctrl_c_is_reported_even_if_a_library_turns_it_into_its_own_error(monkeypatch, capsys):
    def main(config: Train) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise InputError("a.safetensors: damaged; download it again") from error

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores the signal
    try:
        assert called(monkeypatch, main) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "train.py: stopped; run the same command again to finish\n"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:56022."),
        torch.distributed.DistBackendError("NCCL error: remote process exited or there was a network error"),
    ],
)
def test_the_end_of_another_process_is_not_an_unexpected_error(monkeypatch, capsys, folder: Path, error: Exception):
    assert called(monkeypatch, fail(error)) == 1
    assert "train.py: another process of this run has ended" in capsys.readouterr().err
    assert not list(folder.rglob("traceback-*"))


class Broken(Dataset):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, index: int):
        raise self.error

    def __len__(self) -> int:
        return 1


def read_by_a_worker(error: Exception):
    def main(config: Train) -> None:
        try:
            next(iter(DataLoader(Broken(error), num_workers=1)))
        except type(error) as raised:
            raise raised.with_traceback(None)  # noqa: B904  # its frames would keep the worker alive for seconds

    return main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.jpg: cannot be decoded"), "train.py: a.jpg: cannot be decoded\n"),
        (
            OSError(errno.EIO, "Input/output error", "/a/b.jpg"),
            "train.py: /a/b.jpg: Input/output error; check the disk or the network share\n",
        ),
    ],
)
def test_a_data_loaders_worker_says_no_more_than_its_error(monkeypatch, capsys, error: Exception, line: str):
    assert called(monkeypatch, read_by_a_worker(error)) == 1
    assert capsys.readouterr().err == line


def refuse(_job: int) -> None:
    raise InputError("a.jpg: cannot be decoded")


def test_a_process_pools_worker_says_no_more_than_its_error(monkeypatch, capsys):
    def main(config: Train) -> None:
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            list(pool.map(refuse, [1]))

    assert called(monkeypatch, main) == 1
    assert capsys.readouterr().err == "train.py: a.jpg: cannot be decoded\n"


@pytest.mark.parametrize(
    "arguments",
    [["--config", "nowhere.yaml"], ["--config"], ["--speed", "3"], ["lr=3"], ["--config", "a\nb"], ["-x", "a\nb=\n"]],
)
def test_a_wrong_command_line_exits_with_2_and_one_line(monkeypatch, capsys, arguments: list[str]):
    assert called(monkeypatch, never, *arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unexpected_error_is_one_line_and_a_traceback_in_the_output_folder(monkeypatch, capsys, folder: Path):
    def main(config: Train) -> None:
        Path(config.output, "kept").mkdir(parents=True)
        raise ZeroDivisionError("first\nsecond")

    assert called(monkeypatch, main, "output=out") == 70
    (written,) = (folder / "out").glob("traceback-*.txt")
    message = capsys.readouterr().err
    assert message == (
        f"train.py: unexpected ZeroDivisionError: first; the traceback is in {written}; SIFTVTON_DEBUG=1 shows it\n"
    )
    text = written.read_text()
    assert 'raise ZeroDivisionError("first\\nsecond")' in text
    assert "output=out" in text
    assert written.stat().st_mode & 0o77 == 0


def test_a_traceback_goes_to_the_temporary_folder_if_there_is_no_output(monkeypatch, capsys, folder: Path):
    assert called(monkeypatch, fail(ZeroDivisionError()), "output=out") == 70
    assert not (folder / "out").exists()
    (written,) = (folder / "temporary").glob("traceback-*.txt")
    assert str(written) in capsys.readouterr().err


def test_an_error_while_no_file_can_be_written_is_still_one_line(monkeypatch, capsys, folder: Path):
    monkeypatch.setattr("tempfile.tempdir", str(folder / "nowhere"))
    assert called(monkeypatch, fail(ZeroDivisionError()), "output=out") == 70
    assert "the traceback could not be written" in capsys.readouterr().err


def test_an_unexpected_error_of_a_worker_is_reported_with_its_own_message(monkeypatch, capsys):
    assert called(monkeypatch, read_by_a_worker(ZeroDivisionError("by nothing"))) == 70
    assert "unexpected ZeroDivisionError: by nothing; " in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError(errno.ENOSPC, "full"), MemoryError()])
def test_with_debug_set_the_traceback_is_shown_at_once(monkeypatch, error: Exception):
    monkeypatch.setenv("SIFTVTON_DEBUG", "1")
    monkeypatch.setattr("sys.argv", ["scripts/train.py"])
    with pytest.raises(type(error)):
        cli.run(Command(Train, fail(error), "vitonhd.yaml"))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "out: No space left on device; free some space, or"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a"), "a: Disk quota exceeded; free some of your quota"),
        (OSError(errno.EFBIG, "File too large", "a"), "a: File too large; raise the limit"),
        (PermissionError(errno.EACCES, "Permission denied", b"a"), "a: Permission denied; change its permissions"),
        (OSError(errno.EROFS, "Read-only file system", "a"), "a: Read-only file system; name an output that"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a"), "a: File name too long; use shorter names"),
        (OSError(errno.EMFILE, "Too many open files", 3), "out: Too many open files; raise the limit of open"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a"), "a: Not a directory; a file is in the place"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), "a: Invalid cross-device link; correct"),
        (MemoryError("Unable to allocate 9 GiB"), "out of memory (Unable to allocate 9 GiB); lower "),
        (torch.OutOfMemoryError("CUDA out of memory."), "train.batch_size or train.workers"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "lower data.height, "),
        (cv2.error("OpenCV(5.0.0): error: (-4:Insufficient memory) Failed to allocate 9 bytes"), "; lower data.height"),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. "), "lower workers, or set it to 0"),
        (ModuleNotFoundError("No module named 'a.b'", name="a.b"), "the package a is not installed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_error_of_the_system_is_one_line_with_a_remedy(monkeypatch, capsys, error: Exception, line: str):
    assert called(monkeypatch, fail(error), "output=out") == 1
    message = capsys.readouterr().err
    assert line in message
    assert message.count("\n") == 1


def test_other_errors_of_libraries_are_unexpected(monkeypatch, capsys):
    for error in (OSError("image file is truncated"), RuntimeError("shapes differ"), cv2.error("error: (-215) empty")):
        assert called(monkeypatch, fail(error)) == 70
        assert "unexpected " in capsys.readouterr().err


@pytest.mark.parametrize("output", ["/proc/nowhere/x", "/dev/null/x", "n" * 300, "a/" * 3000])
def test_an_output_that_cannot_be_made_is_one_line(output: str):
    done = script("make_toy_data.py", f"output={output}", "train_pairs=1", "test_pairs=2")
    assert done.returncode in (1, 2)
    assert done.stderr.count(b"\n") == 1, done.stderr.decode()
    assert output[:10].encode() in done.stderr


def test_help_ends_quietly_if_nobody_reads_it():
    """As with ``| head``; here the reader has ended before the first word."""
    reads, writes = os.pipe()
    os.close(reads)
    command = [sys.executable, str(CHECKOUT / "scripts" / "train.py"), "--help"]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writes)
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_broken_pipe_between_processes_is_not_taken_for_a_reader_that_ended(monkeypatch, capsys):
    monkeypatch.setattr(cli, "_nobody_reads", lambda: False)
    assert called(monkeypatch, fail(BrokenPipeError(errno.EPIPE, "Broken pipe"))) == 1
    assert "Broken pipe" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_behind_standard_output_is_named():
    with open("/dev/full", "w") as full:
        command = [sys.executable, str(CHECKOUT / "scripts" / "train.py"), "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "standard output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_console_with_few_characters_shows_help_and_errors(encoding: str):
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    shown = script("train.py", "--help", **environment)
    assert shown.returncode == 0
    assert b"model.prediction_type" in shown.stdout
    refused = script("train.py", "data.root=é→界=", "train.seed=界", **environment)
    assert refused.returncode == 2
    assert refused.stderr.count(b"\n") == 1
    assert b"train.seed=" in refused.stderr


def test_a_shipped_configuration_works_from_another_folder(folder: Path):
    done = script("make_toy_data.py", "--config", "configs/toy.yaml", "train_pairs=1", "test_pairs=2", "workers=1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"data/toy: 1 training pairs and 2 test pairs\n"
    assert (folder / "data" / "toy" / "train_pairs.txt").is_file()
    assert not (folder / "data" / "toy" / LOCK).exists()


def test_a_current_folder_that_was_removed_is_reported_in_one_line(folder: Path):
    command = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} {CHECKOUT}/scripts/report.py output=x"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("report.py: ")


def test_a_second_run_in_the_same_output_is_refused_in_one_line(monkeypatch, capsys, folder: Path):
    def main(config: Train) -> None:
        assert called(monkeypatch, never, "output=./out") == 1

    assert called(monkeypatch, main, "output=out") == 0
    message = capsys.readouterr().err
    assert f"out: is being written by another run (process {os.getpid()} on host " in message
    assert message.count("\n") == 1
    assert not (folder / "out").exists()


def test_processes_of_one_run_share_its_output(monkeypatch, folder: Path):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    entered = []
    with only_writer(folder / "out"):
        assert called(monkeypatch, entered.append, "output=out") == 0
    assert len(entered) == 1
