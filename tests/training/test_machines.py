"""Two machines: two agents of torchrun that find each other through the network, started by docs/slurm.sh.

Slurm's own commands are replaced: srun starts the agents on this machine.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from runs import metrics, run, weights
from stand_ins import alexnet_state, allow_inception, save_inception

from siftvton.commands.evaluate import Evaluate, evaluate
from siftvton.commands.infer import Infer, infer
from siftvton.data.config import HeldOutData
from siftvton.files import read_json
from siftvton.sampling.loading import save
from siftvton.settings import save_configuration

SLURM = Path(__file__).parents[2] / "docs" / "slurm.sh"
COMMANDS = {
    "scontrol": 'echo "127.0.0.1\n127.0.0.1"',
    "srun": """
        while [[ $1 == -* ]]; do shift; done
        for ((machine = 0; machine < SLURM_NNODES; machine++)); do "$@" & agents+=($!); done
        for agent in "${agents[@]}"; do wait "$agent" || failed=1; done
        exit "${failed:-0}"
    """,
    # This machine's own name may not lead to an address.
    "torchrun": f'exec {sys.executable} -m torch.distributed.run --local_addr 127.0.0.1 "$@"',
}

TRAINS = """
import os, time
from pathlib import Path
from siftvton import cli
from siftvton.training import step

noise_error, calls = step.noise_error, 0

def waiting(prediction, target):
    global calls
    calls += 1
    if os.environ["RANK"] == "1" and calls == int(os.environ.get("WAIT_AT", "0")):
        Path(os.environ["WAITS"]).write_text(f"{os.getppid()} {os.getpid()} ")  # the agent of its machine, and itself
        time.sleep(600)
    return noise_error(prediction, target)

step.noise_error = waiting
cli.run("train")
"""

SAMPLES_AND_SCORES = """
import os, sys
from siftvton import cli
from siftvton.commands.evaluate import Evaluate, evaluate
from siftvton.commands.infer import Infer, infer
from siftvton.evaluation import features, metrics
from siftvton.sampling import results

def counted(module, name, pictures):
    function = getattr(module, name)
    def noted(*given):
        with open(f"{name}-{os.environ['RANK']}", "a") as file:
            file.write("x" * len(pictures(given)))
        return function(*given)
    setattr(module, name, noted)

counted(results, "generate", lambda given: given[1])
counted(metrics, "structural_similarity", lambda given: given[0])
counted(features, "get_batch_features", lambda given: given[0])
said = [infer(cli.load(Infer, sys.argv[1], [])), *(evaluate(cli.load(Evaluate, path, [])) for path in sys.argv[2:])]
os.write(1, f"{[bool(text) for text in said]}\\n".encode())  # at once, so that lines of two processes do not mix
"""


@pytest.fixture
def machines(tmp_path: Path):
    """``machines(program, *arguments, **environment)`` starts a program on two machines; its output is text."""
    for name, program in COMMANDS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{program}\n")
        path.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        job = free.getsockname()[1] % 20000
    slurm = {"SLURM_NNODES": "2", "SLURM_JOB_ID": str(job), "SLURM_JOB_NODELIST": "two"}
    started = []

    def start(program: str, *arguments: Path | str, **environment: str) -> subprocess.Popen:
        (tmp_path / "program.py").write_text(program)
        started.append(
            subprocess.Popen(
                ["bash", SLURM, "program.py", *arguments],
                cwd=tmp_path,
                env={
                    **os.environ,
                    **slurm,
                    **environment,
                    "OMP_NUM_THREADS": "1",
                    "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)  # the agents end their processes
            process.communicate(timeout=60)


def test_a_run_on_two_machines_ends_with_one_of_them_and_continues(configuration, tmp_path: Path, machines):
    settings = {"updates": 2, "checkpoint_every": 1, "batch_size": 1}
    straight = run(configuration("straight", accumulation=4, **settings))
    config = configuration("two", accumulation=2, cpu=False, **settings)
    save_configuration(config, tmp_path / "two.yaml")
    waits = tmp_path / "waits"
    first = machines(TRAINS, "--config", "two.yaml", WAIT_AT="3", WAITS=str(waits))  # in update 2
    while first.poll() is None and not (waits.exists() and waits.read_text().endswith(" ")):
        time.sleep(0.1)
    assert waits.exists(), first.communicate()[1]
    for process in waits.read_text().split():
        os.kill(int(process), signal.SIGKILL)
    _, error = first.communicate(timeout=120)
    assert first.returncode != 0
    assert "another process of this run has ended" in error
    two = Path(config.output)
    assert [entry["update"] for entry in metrics(two)] == [1]

    second = machines(TRAINS, "--config", "two.yaml")
    _, error = second.communicate(timeout=300)
    assert second.returncode == 0, error
    assert " 4/8 " in error  # images
    assert " 0/8 " not in error
    for found, expected in zip(metrics(two), metrics(straight), strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
    ours, theirs = weights(two), weights(straight)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4)


def test_two_machines_share_the_pictures_to_sample_and_to_score(root: Path, pipeline, tmp_path: Path, machines):
    save(pipeline, tmp_path / "model")
    torch.save(alexnet_state(), tmp_path / "alexnet.pth")
    inception = save_inception(tmp_path / "inception.pt")
    data = HeldOutData(root=str(root), split="train", validation_pairs=0, height=64, width=48)

    def sampling(name: str) -> Infer:
        return Infer(
            checkpoint=str(tmp_path / "model"),
            data=data,
            setting="paired",
            steps=2,
            batch_size=1,
            format="png",
            output=str(tmp_path / name),
        )

    def scoring(name: str, **settings: str) -> Evaluate:
        config = Evaluate(
            data=data,
            predictions={"two": str(tmp_path / "two" / "{person}_{person}.png")},
            alexnet=str(tmp_path / "alexnet.pth"),
            batch_size=2,
            workers=0,
            device="cpu",
            output=str(tmp_path / name),
            **settings,
        )
        allow_inception(config, inception)
        return config

    jobs = {"sampled": sampling("two"), "paired": scoring("paired", setting="paired"), "unpaired": scoring("unpaired")}
    for name, job in jobs.items():
        save_configuration(job, tmp_path / f"{name}.yaml")
    done = machines(SAMPLES_AND_SCORES, *(f"{name}.yaml" for name in jobs))
    said, error = done.communicate(timeout=300)
    assert done.returncode == 0, error
    assert sorted(said.split("\n")) == ["", "[False, False, False]", "[True, True, True]"]
    counts = {path.name: len(path.read_text()) for path in tmp_path.glob("*-[01]")}
    assert counts == {
        "generate-0": 3,
        "generate-1": 3,
        "structural_similarity-0": 4,
        "structural_similarity-1": 2,  # batches of 2: two of three, and one
        "get_batch_features-0": 8,
        "get_batch_features-1": 4,  # of photos and results
    }

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    infer(sampling("alone"))
    for setting in ("paired", "unpaired"):
        evaluate(scoring(f"alone-{setting}", setting=setting))
    torch.set_num_threads(threads)
    # All files but the configurations, which name their own output.
    pairs = [("alone", "two", "**/*.png"), *((f"alone-{name}", name, "*.[!y]*") for name in ("paired", "unpaired"))]
    for alone, shared, pattern in pairs:
        files = sorted(path.relative_to(tmp_path / alone) for path in (tmp_path / alone).glob(pattern))
        assert len(files) > 2
        for file in files:
            assert (tmp_path / alone / file).read_bytes() == (tmp_path / shared / file).read_bytes(), file
    for setting, keys in (("paired", {"ssim", "lpips"}), ("unpaired", {"fid", "kid"})):
        assert read_json(tmp_path / setting / "metrics.json")["results"]["two"]["scores"].keys() == keys


def test_the_slurm_script_without_a_script_to_run_says_what_to_add():
    done = subprocess.run(["bash", SLURM], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "sbatch docs/slurm.sh scripts/train.py" in done.stderr
