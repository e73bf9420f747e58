"""Whole reproductions on a small toy world, with tiny weights on a stand-in for the hub."""

import io
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from examples import published_form
from hub_stand_in import COMMIT, REPOSITORIES, served
from stand_ins import HEIGHT, WIDTH, save_inception

from siftvton import cli
from siftvton.evaluation import weights
from siftvton.files import read_image, sha256
from siftvton.model import build
from siftvton.reproduction.environment import environment
from siftvton.sampling import results
from siftvton.toy.world.write import write_world
from siftvton.training import records

PAIRS = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, train_pairs=3, test_pairs=PAIRS, height=HEIGHT, width=WIDTH, workers=1)
    return folder


@pytest.fixture
def hub(pipeline, sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``owner/weights`` holds ``model.ckpt``, tiny weights under the published names. Nothing else can be fetched."""

    def refuse(*_: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(weights, "CLEAN_FID_CACHE", tmp_path / "clean-fid")
    monkeypatch.setattr(weights, "_download", refuse)
    monkeypatch.setattr(
        build, "full_parts", lambda: {"vae": build.autoencoder([8, 16, 16], 1, 8), **build.network_parts(sizes)}
    )
    content = io.BytesIO()
    torch.save({"state_dict": published_form(pipeline)}, content)
    monkeypatch.setitem(REPOSITORIES, "owner/weights", {"model.ckpt": content.getvalue()})
    with served(tmp_path / "cache", monkeypatch):
        yield


@pytest.fixture
def script(settings: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """``script(*keys)``: run the command as its script does; returns the exit code, the output and the error line.

    Inception is a stand-in, and AlexNet is missing.
    """
    inception = save_inception(tmp_path / "inception.pt")
    scoring = f"keys.evaluate=inception={inception} inception_sha256={sha256(inception)}"

    def run(*keys: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.run("reproduce", ["--config", str(settings), f"data.root={root}", scoring, *keys], "reproduce.py")
        for state in (AcceleratorState, GradientState, PartialState):  # the next run stands for a new process
            state._reset_state()
        printed = capsys.readouterr()
        said = [line for line in printed.err.splitlines() if line.startswith("reproduce.py: ")]
        return int(end.value.code or 0), printed.out, "\n".join(said)

    return run


def test_weights_from_the_hub_are_fetched_sampled_scored_and_judged(hub, script, tmp_path: Path, monkeypatch):
    written: list[Path] = []
    write = results.write_image

    def stop_at_the_second(path: Path, picture: object) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path)
        write(path, picture)

    monkeypatch.setattr(results, "write_image", stop_at_the_second)
    assert script()[::2] == (130, "reproduce.py: stopped; run the same command again to finish")
    monkeypatch.setattr(results, "write_image", write)
    time = written[0].stat().st_mtime_ns
    code, text, _ = script("sift_vton.published.fid=9", "sift_vton.tolerance.fid=1", "sift_vton.reason.fid=a test")

    assert code == 0
    assert written[0].stat().st_mtime_ns == time, "the picture of before the stop is kept"
    output = tmp_path / "out"
    for setting in ("paired", "unpaired"):
        pictures = list((output / setting).glob("*.png"))
        assert len(pictures) == PAIRS
        assert all(read_image(path).shape == (HEIGHT, WIDTH, 3) for path in pictures)
    assert text.endswith((output / "verdict.md").read_text())
    assert "**No verdict: FID (another network).**" in text
    assert "| SSIM ↑ | paired | within tolerance | 0.9000 | " in text
    assert "| LPIPS ↓ | paired | not measured | – | – |" in text
    verdict = json.loads((output / "verdict.json").read_text())
    assert verdict["weights"]["revision"] == COMMIT
    assert verdict["weights"]["sha256"] == sha256(verdict["weights"]["path"])
    assert verdict["judged"] == f"hf://owner/weights@{COMMIT}"
    scores = json.loads((output / "scores_paired" / "metrics.json").read_text())["results"]["ours"]["scores"]
    assert {row["measure"]: row["ours"] for row in verdict["measures"]}["ssim"] == scores["ssim"]
    assert verdict["stages"]["sample_paired"]["environment"] == environment()
    assert environment()["versions"]["torch"] in text


def test_a_training_that_is_stopped_continues_and_its_result_is_judged(hub, script, tmp_path: Path, monkeypatch):
    append = records.append

    def append_and_stop(path: Path, update: int, values: dict[str, float]) -> None:
        append(path, update, values)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(records, "append", append_and_stop)
    code, text, _ = script("what=train")
    assert code == 0
    assert "stopped in training; run the same command again to continue" in text
    assert not (tmp_path / "out" / "verdict.md").exists()
    monkeypatch.setattr(records, "append", append)
    code, text, said = script("what=train")
    assert said == ""
    assert "match: finished before" in text
    assert "**Reproduced: SSIM within tolerance.**" in text
    assert f"- judged: {tmp_path / 'out' / 'train' / 'model'}" in text
    log = (tmp_path / "out" / "train" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in log] == [1, 2, 3, 4]


def test_missing_data_are_one_line(script, tmp_path: Path):
    code, _, said = script(f"data.root={tmp_path / 'nowhere'}")
    assert code == 1
    assert said == (
        f"reproduce.py: data.root={tmp_path / 'nowhere'}: no such folder; data/README.md describes the folders"
    )


def test_a_missing_picture_is_one_line_that_names_the_report(root: Path, script, tmp_path: Path):
    broken = tmp_path / "broken"
    shutil.copytree(root, broken)
    next((broken / "test" / "cloth").iterdir()).unlink()
    code, _, said = script(f"data.root={broken}")
    report = tmp_path / "out" / "check" / "report.md"
    assert code == 1
    assert said == f"reproduce.py: {broken}: not ready for every command; {report} says what to do"


def test_missing_weights_are_one_line(script, tmp_path: Path):
    code, _, said = script(f"sift_vton.checkpoint={tmp_path / 'no.ckpt'}")
    assert code == 1
    assert said == (
        f"reproduce.py: {tmp_path / 'no.ckpt'}: no such folder or file; checkpoints/README.md says where to get weights"
    )


def test_a_wrong_key_of_a_command_is_named(script):
    code, _, said = script("keys.check_data=previw=3")
    assert code == 2
    assert said == "reproduce.py: unknown key previw; did you mean preview? --help lists all keys"
