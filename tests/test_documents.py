"""README, docs and the other pages: what they claim to run runs, and what they name exists."""

import importlib.util
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml

from siftvton.files import read_image
from siftvton.prepare.published import licences
from siftvton.toy.world.write import write_world

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "data/*.md",
        "checkpoints/*.md",
        "checkpoints/toy/*.md",
        "integrations/*/*.md",
    )
    for path in sorted(ROOT.glob(pattern))
}
README = PAGES["README.md"]
CODE, OTHER = ("python", "sh", "yaml"), ("bibtex", "mermaid", "text")  # languages that run, and that do not
RUN = ("supervise", "attention error", "toy world", "one photo")  # marks of the Python blocks that tests here run
NOT_RUN = re.compile(r"needs .+|takes long")
FOLDERS = r"(?:configs|scripts|siftvton|docs|tests|benchmarks|checkpoints/toy)/"
SECTIONS = r"(?:data|execution|model|supervision|train)"
TARGETS = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
COMMANDS = sorted(path.stem for path in (ROOT / "scripts").glob("*.py"))


@dataclass(frozen=True)
class Block:
    """A fenced block; ``mark`` is the HTML comment right above it."""

    page: str
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text[:60]!r}"


def _blocks() -> Iterator[Block]:
    fence = re.compile(r"(?:^ *<!-- ([^\n]*?) -->\n)?^( *)```(\w*)\n(.*?)^\2```$", re.DOTALL | re.MULTILINE)
    for page, text in PAGES.items():
        for found in fence.finditer(text):
            indent = found[2]
            yield Block(page, found[1] or "", found[3], re.sub(f"^{indent}", "", found[4], flags=re.MULTILINE))


BLOCKS = list(_blocks())
PROSE = {page: re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE) for page, text in PAGES.items()}
NAMED = [(page, each) for page, text in PROSE.items() for each in re.findall(r"`([^`\n]+)`", text)]  # in backticks


def _lines(block: Block) -> list[list[str]]:
    """The words of each command of a shell block."""
    joined = block.text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def _of_ours(words: list[str]) -> list[str] | None:
    """Name and arguments of the command of ours that a line starts, under a launcher or not."""
    for place, word in enumerate(words):
        script = re.fullmatch(r"scripts/(\w+)\.py", word)
        if script:
            return [script[1], *words[place + 1 :]]
        if word == "siftvton" and place == 0 and len(words) > 1:
            return words[1:]
    return None


def _command_lines() -> list[list[str]]:
    shell = [words for block in BLOCKS if block.language == "sh" for words in _lines(block)]
    inline = [shlex.split(each) for _, each in NAMED if each.startswith(("python scripts/", "siftvton ", "torchrun "))]
    found = [line for words in [*shell, *inline] if (line := _of_ours(words)) and "…" not in line]
    return [list(line) for line in dict.fromkeys(map(tuple, found)) if line[0] != "NAME"]


def _run(name: str, *arguments: str) -> object:
    """The exit code of a command of ours, run in this process."""
    argv, sys.argv = sys.argv, [f"{name}.py", *arguments]
    try:
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    except SystemExit as end:
        return end.code
    finally:
        sys.argv = argv
    return None


def _keys(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Every key that some command has."""
    for name in COMMANDS:
        assert _run(name, "--help") in (0, None)
    return set(re.findall(r"^  ([a-z_.]+)=", capsys.readouterr().out, re.MULTILINE))


def _slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def test_every_relative_link_and_picture_resolves_anchors_included():
    links = [
        (page, target)
        for page, text in PROSE.items()
        for target in re.findall(r"\]\(([^)\s]+)\)", text)
        if "://" not in target
    ]
    assert len(links) > 30
    for page, target in links:
        place, _, anchor = target.partition("#")
        path = (ROOT / page).parent / place if place else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", PROSE[str(path.resolve().relative_to(ROOT))], re.MULTILINE)
            assert anchor in map(_slug, headings), f"{page}: {target}"


def test_every_path_and_module_in_backticks_exists():
    paths = [(page, each) for page, each in NAMED if re.fullmatch(rf"{FOLDERS}[\w/.-]*", each)]
    modules = [(page, each) for page, each in NAMED if re.fullmatch(r"siftvton\.[a-z_.]+", each)]
    assert paths
    assert modules
    for page, path in paths:
        assert (ROOT / path).exists(), f"{page}: {path}"
    for page, module in modules:
        assert importlib.util.find_spec(module), f"{page}: {module}"


def test_every_message_that_troubleshooting_quotes_is_in_the_code():
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "siftvton").rglob("*.py"))
    source = re.sub(r'"\n\s*f?"', "", source)  # texts that go on in the next line
    table = README.partition("## Troubleshooting")[2].partition("##")[0]
    symptoms = re.findall(r"^\| (.+?) \|", table, re.MULTILINE)
    quoted = [message for symptom in symptoms for message in re.findall(r"`(.+?)`", symptom)]
    assert len(quoted) > 5
    for message in quoted:
        assert all(part in source for part in message.split("…")), message


def test_every_package_is_on_the_page_of_the_architecture():
    for folder in (ROOT / "siftvton").iterdir():
        if folder.is_dir() and any(folder.glob("*.py")):
            assert f"| `siftvton/{folder.name}` |" in PAGES["docs/architecture.md"]


def test_every_command_and_configuration_is_on_the_page_of_commands():
    page = PAGES["docs/commands.md"]
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == COMMANDS
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"`configs/{path.name}`" in page or path.name == "toy_experiment.yaml"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_code_block_runs_here_or_says_why_not(block: Block):
    assert block.language in CODE + OTHER, "name the language of the block"
    if block.language in OTHER:
        return
    if block.language == "python":
        assert block.mark in RUN or NOT_RUN.fullmatch(block.mark)
    elif block.language == "sh" and not NOT_RUN.fullmatch(block.mark):
        for words in _lines(block):
            assert _of_ours(words) or (words[0] == "make" and words[1] in TARGETS), " ".join(words)
    elif block.language == "yaml":
        assert yaml.safe_load(block.text)


@pytest.mark.parametrize("line", _command_lines(), ids=" ".join)
def test_every_command_line_resolves_to_a_configuration(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where there is no data to count
    monkeypatch.setenv("arm", "none")  # the variable of a loop
    name, *arguments = line
    config = arguments.index("--config") + 1 if "--config" in arguments else None
    assert config is None or (ROOT / arguments[config]).is_file()
    assert _run(name, *arguments, "--dry-run") in (0, None), capsys.readouterr().err


def test_every_make_target_in_backticks_exists():
    named = {(page, found[1]) for page, each in NAMED if (found := re.fullmatch(r"make (\w+)", each))}
    assert {target for _, target in named} >= {"demo", "test", "quality", "bench"}
    for page, target in named:
        assert target in TARGETS, f"{page}: make {target}"


def test_every_key_in_backticks_is_a_key(capsys):
    keys = _keys(capsys)
    assert "train.batch_size" in keys
    words = [(page, word) for page, each in NAMED for word in each.split()]
    given = [(page, found[1]) for page, word in words if (found := re.match(r"(?!key=value)([a-z][a-z_.]*)=", word))]
    dotted = [(page, word) for page, word in words if re.fullmatch(rf"{SECTIONS}\.(?!ckpt)[a-z_]+", word)]
    assert given
    assert dotted
    for page, key in [*given, *dotted]:
        assert key in keys or key.partition(".")[0] in keys, f"{page}: {key}"  # or an entry of a dictionary


def test_supervising_a_stock_model_runs_as_written():
    torch.manual_seed(0)
    (code,) = [block.text for block in BLOCKS if block.mark == "supervise"]
    variables: dict = {}
    exec(compile(code, "README.md", "exec"), variables)
    assert variables["loss"].item() > 0
    queries = [p.grad for name, p in variables["unet"].named_parameters() if name.endswith("attn2.to_q.weight")]
    assert queries
    assert all(gradient.abs().max() > 0 for gradient in queries)
    assert len([line for line in code.splitlines() if "supervis" in line.lower() or "recorder" in line]) <= 5


def test_the_attention_error_of_a_stock_model_is_measured_as_written(capsys):
    torch.manual_seed(0)
    (code,) = [block.text for block in BLOCKS if block.mark == "attention error"]
    exec(compile(code, "docs/supervise/attention_error.md", "exec"), variables := {})
    assert len(variables["found"]) == 6  # two layers in the encoder, one in the middle, three in the decoder
    errors = torch.stack([each.errors for each in variables["found"].values()])
    assert errors.shape == (6, 2, 5)
    assert ((errors[..., 0] > 0) & (errors[..., 0] < 400)).all()
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_the_python_example_makes_a_picture_in_a_small_toy_world(tmp_path, monkeypatch):
    (code,) = [block.text for block in BLOCKS if block.mark == "toy world"]
    write_world(tmp_path / "data/toy", train_pairs=1, test_pairs=4, height=128, width=96, workers=1)
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    variables: dict = {}
    exec(compile(code.replace("steps=20", "steps=2"), "docs/commands.md", "exec"), variables)
    assert variables["picture"].shape == (128, 96, 3)


def test_the_example_of_one_photo_runs_as_written(tmp_path, monkeypatch):
    (code,) = [block.text for block in BLOCKS if block.mark == "one photo"]
    write_world(tmp_path / "data/toy", train_pairs=1, test_pairs=4, height=512, width=384, workers=1)
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    variables: dict = {}
    exec(compile(code.replace("steps=20", "steps=2"), "README.md", "exec"), variables)
    assert read_image(tmp_path / "outputs/tryon.png").shape == (512, 384, 3)
    assert variables["attention"].sum() == pytest.approx(1)


def test_the_licences_of_the_models_that_are_fetched_are_on_the_page_of_data():
    assert licences() in PAGES["data/README.md"]


def test_the_citation_is_the_one_of_the_citation_file():
    (bibtex,) = [block.text for block in BLOCKS if block.language == "bibtex"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    authors = " and ".join(f"{each['family-names']}, {each['given-names']}" for each in cited["authors"])
    assert f"{{{cited['title']}}}" in bibtex
    assert f"{{{authors}}}" in bibtex
    assert f"{{{cited['year']}}}" in bibtex
    assert cited["url"].rpartition("/")[2] in bibtex


def test_the_version_is_the_same_everywhere_and_has_its_changes_listed():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert re.search(r"^## \[(.+?)\]", PAGES["CHANGELOG.md"], re.MULTILINE)[1] == version


def test_the_readme_stays_short_and_its_picture_small():
    assert len(README.splitlines()) <= 205
    assert (ROOT / "docs/overview.jpg").stat().st_size < 300_000
