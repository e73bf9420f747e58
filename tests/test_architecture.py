"""Who may use whom (docs/architecture.md), and that every module can be imported by itself."""

import ast
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import siftvton

PACKAGE = Path(siftvton.__file__).parent
# A module uses only rooms above its own; the tools at the root come first, and what starts everything last.
ORDER = (
    "tools",
    "correspondence",
    "drawing",
    "supervision",
    "data",
    "prepare",
    "model",
    "sampling",
    "evaluation",
    "training",
    "toy",
    "experiment",
    "reproduction",
    "app",
    "commands",
    "start",
)
START = ("cli", "reference", "__main__")


def modules() -> dict[str, Path]:
    found = {}
    for entry in pkgutil.walk_packages([str(PACKAGE)], "siftvton."):
        path = PACKAGE.joinpath(*entry.name.split(".")[1:])
        found[entry.name] = path / "__init__.py" if entry.ispkg else path.with_suffix(".py")
    return found


MODULES = modules()


def room(module: str) -> str:
    _, first, *rest = module.split(".")
    if rest or first in ORDER:
        return first
    return "start" if first in START else "tools"


def imports(path: Path, only_at_start: bool = False) -> set[str]:
    """The project's modules that a file imports, anywhere in it or as soon as it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if only_at_start else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "siftvton":
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
    return found - {"siftvton"}


def test_every_room_has_its_place():
    assert {room(name) for name in MODULES} == set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_uses_only_rooms_above_its_own(module: str):
    own = ORDER.index(room(module))
    upward = sorted(name for name in imports(MODULES[module]) if ORDER.index(room(name)) > own)
    assert not upward


def test_no_circle_of_imports():
    graph = {name: imports(path, only_at_start=True) for name, path in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"circle: {' -> '.join([*way[way.index(name) :], name])}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_correspondence_and_supervision_know_nothing_of_our_model_data_and_configuration():
    tools = {"siftvton.errors", "siftvton.files", "siftvton.draws"}
    for name, path in MODULES.items():
        if room(name) in ("correspondence", "supervision"):
            own = {each for each in imports(path) if room(each) in ("correspondence", "supervision")}
            assert imports(path) - own <= tools, name


def test_the_document_names_the_packages_that_each_package_uses():
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `siftvton/(\w+)` \|.*\| (.*) \|$", text, re.MULTILINE))
    assert list(rows) == [each for each in ORDER if each in rows or (PACKAGE / each).is_dir()]
    for package, uses in rows.items():
        named = set(re.findall(r"`(\w+)`", uses))
        if uses == "all" or uses.endswith("and all above"):
            named |= set(list(rows)[: list(rows).index(package)])
        used = {room(each) for name, path in MODULES.items() if room(name) == package for each in imports(path)}
        assert (used & set(rows)) - {package} <= named, package
        assert uses == "all" or uses.endswith("and all above") or named <= used, package


def test_every_module_can_be_imported_first():
    """In a fresh process each, in which the libraries are loaded already: a circle would show in one of them."""
    code = (
        "import os, sys, torch, torchvision, diffusers, transformers, accelerate, torchmetrics, cv2, scipy.stats\n"
        "import gradio, diffusers.models.unets.unet_2d_blocks\n"
        "for name in sys.argv[1:]:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        try: __import__(name)\n"
        "        except BaseException as error:\n"
        "            print(name, repr(error), flush=True)\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
    )
    names = [name for name in MODULES if not name.endswith("__main__")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == ""
