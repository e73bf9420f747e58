"""A wheel, installed into a fresh environment that sees the installed libraries but not the checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    copy, built = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "siftvton", "configs", "checkpoints", "integrations"):
        source = CHECKOUT / name
        run("cp", "-r", source, copy, cwd=copy)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", built, copy, cwd=copy)
    (path,) = built.glob("siftvton-*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    own = Path(
        run(
            folder / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
        ).strip()
    )
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib"))  # whose own .pth files are not read
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "bin" / "python",
        "install",
        "--no-deps",
        "-q",
        wheel,
        cwd=folder,
    )
    return folder / "bin"


def test_the_wheel_holds_every_package_the_configurations_and_the_toy_weights(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [
        *(CHECKOUT / "siftvton").rglob("*.py"),
        *(CHECKOUT / "siftvton").rglob("*.html"),
        *(CHECKOUT / "siftvton").rglob("*.css"),
        *(CHECKOUT / "siftvton").rglob("*.webp"),
    ]
    expected = {str(path.relative_to(CHECKOUT)) for path in files}
    expected |= {f"siftvton/configs/{path.name}" for path in (CHECKOUT / "configs").glob("*.yaml")}
    weights = (CHECKOUT / "checkpoints" / "toy").rglob("*.safetensors")
    expected |= {f"siftvton/{path.relative_to(CHECKOUT)}" for path in weights}
    assert expected <= held
    assert not [name for name in held if name.startswith(("tests", "integrations", "siftvton/checkpoints/README"))]


def test_a_wheel_works_outside_the_checkout(environment: Path, tmp_path: Path) -> None:
    command = environment / "siftvton"
    code = "import siftvton; print(siftvton.__file__)"
    assert str(environment.parent) in run(environment / "python", "-c", code, cwd=tmp_path)
    assert "  train " in run(command, "--help", cwd=tmp_path)
    assert "λ" in run(command, "train", "--help", cwd=tmp_path)
    small = ("height=64", "width=48", "train_pairs=1", "test_pairs=2", "workers=1")
    run(command, "make_toy_data", "output=data", *small, cwd=tmp_path)
    keys = ("data.root=data", "output=results", "steps=1", "limit=1", "data.height=64", "data.width=48")
    run(command, "infer", "--config", "configs/toy.yaml", *keys, cwd=tmp_path)
    assert len([*(tmp_path / "results").glob("*.png")]) == 1
