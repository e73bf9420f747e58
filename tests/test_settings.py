"""Configurations: which are accepted, which are refused, and with which message."""

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from siftvton import cli
from siftvton.commands import schemas
from siftvton.commands.evaluate import Evaluate
from siftvton.commands.evaluate_toy import EvaluateToy
from siftvton.commands.infer import Infer
from siftvton.commands.preprocess_sift import PreprocessSift
from siftvton.commands.visualize_attention import VisualizeAttention
from siftvton.data.config import Data
from siftvton.errors import UsageError
from siftvton.experiment.config import Experiment
from siftvton.options import keys, number_kind, option, require_ranges
from siftvton.settings import differences, save_configuration
from siftvton.training.config import Train, TrainAutoencoder

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("supervision: {weight: 0.25}\npreset: paper\ntrain:\n  learning_rate: 1e-3\n")
    return path


def test_a_file_overrides_defaults_and_the_command_line_overrides_both(file: Path):
    config = cli.load(Train, file, ["supervision.weight=0.5", "model.channels=[32, 64]"])
    assert config.supervision.weight == 0.5
    assert config.train.learning_rate == 1e-3
    assert config.model.channels == [32, 64]
    assert config.supervision.max_timestep == 500


def test_one_file_serves_several_scripts(file: Path):
    assert cli.load(PreprocessSift, file).preset == "paper"
    assert cli.load(Infer, file).steps == 50


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.yaml")))
@pytest.mark.parametrize("schema", schemas().values(), ids=schemas())
def test_every_shipped_file_fits_every_script(name: str, schema: type):
    cli.load(schema, CONFIGS / name)


def test_overlays_change_only_what_they_name():
    paper, published = (cli.load(Train, CONFIGS / f"{name}.yaml") for name in ("vitonhd", "vitonhd_published"))
    assert paper.supervision.weight == 0.0005
    assert published.supervision.weight == pytest.approx(0.0005 * 3 * 2)
    assert paper.train == published.train
    assert paper.train.batch_size * paper.train.accumulation == 32
    assert cli.load(Train, CONFIGS / "stableviton.yaml").supervision.weight == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batchsize=4", r"unknown key train\.batchsize; did you mean train\.batch_size\?"),
        ("train.learn_rate=3", r"did you mean train\.learning_rate\?"),
        ("batch_size=4", r"did you mean train\.batch_size\?"),
        (
            "setting=paired",
            r"unknown key setting; it is a key of infer, evaluate, .* or evaluate_toy, not of this command; --help",
        ),
        ("train.batch_size=many", r"^command line: train\.batch_size=many is not allowed; use a whole number"),
        ("train.batch_size=0", r"train\.batch_size=0 is not allowed; use 1 or more"),
        ("train.dropout=1.5", "is not allowed; use 1 or less"),
        ("supervision.layers=top", "is not allowed; use middle or all"),
        ("data.matches_frame=[512]", "is not allowed; use 2 numbers"),
        ("data.matches_frame=[512, 0]", "is not allowed; use numbers of 8 or more"),
        ("model.channels=[]", "is not allowed; use 1 to 1000 numbers"),
        ("model.channels=[1", r"is not YAML \(line 1, column .*\); use e\.g\. \[1, 2\]"),
        ("resume", "'resume' is not key=value; give a key and its value"),
        ("resume = latest", "'resume = latest' is not allowed; write key=value without spaces"),
        ("train=3", r"unknown key train; it is a section, so name one of its keys, e\.g\. train\.epochs; --help"),
    ],
)
def test_a_wrong_override_is_named(file: Path, override: str, message: str):
    with pytest.raises(UsageError, match=message):
        cli.load(Train, file, [override])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("supervison: {weight: 1}", r"unknown key supervison\.weight; did you mean supervision\.weight\?"),
        ("train: {batch_size: [1]}", r"train\.batch_size"),
        ("- 1", "contains no keys"),
        ("", "contains no keys"),
        ("a: [1", r"wrong\.yaml: line 1, column 4: the list that begins here has no '\]'"),
        ("base: other.yaml", r"other\.yaml: no such file"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: str, message: str):
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        cli.load(Train, path)


def test_yaml_that_would_build_an_object_is_refused(tmp_path: Path):
    path = tmp_path / "hostile.yaml"
    path.write_text(f"output: !!python/object/apply:pathlib.Path.touch [{tmp_path / 'ran'}]")
    with pytest.raises(UsageError, match=r"line 1, column 9: the tag !!python/object/apply.* is not supported"):
        cli.load(Train, path)
    assert not (tmp_path / "ran").exists()


def test_text_that_looks_like_a_number_stays_text(file: Path, tmp_path: Path):
    """YAML reads 00006_00 as an octal number, and no as false."""
    config = cli.load(VisualizeAttention, file, ["person=00006_00", "garment=null", "checkpoints.a=1e3"])
    assert (config.person, config.garment, config.checkpoints) == ("00006_00", None, {"a": "1e3"})
    assert cli.load(Train, file, ["train.mixed_precision=no"]).train.mixed_precision == "no"
    save_configuration(config, tmp_path / "saved.yaml")
    assert cli.load(VisualizeAttention, tmp_path / "saved.yaml") == config


def test_dictionary_keys_take_any_name(file: Path):
    config = cli.load(Evaluate, file, ["predictions.ours=a", "predictions.theirs=b"])
    assert config.predictions == {"ours": "a", "theirs": "b"}


def test_a_saved_configuration_repeats_itself_and_shows_differences(file: Path, tmp_path: Path):
    config = cli.load(Train, file)
    save_configuration(config, tmp_path / "saved.yaml")
    assert cli.load(Train, tmp_path / "saved.yaml") == config
    other = cli.load(Train, file, ["train.seed=7", "model.channels=[32,32]"])
    assert differences(config, tmp_path / "saved.yaml") == []
    assert differences(other, tmp_path / "saved.yaml") == [
        "model.channels: [320, 640, 1280, 1280] -> [32, 32]",
        "train.seed: 0 -> 7",
    ]


def test_differences_show_values_as_files_write_them(file: Path, tmp_path: Path):
    save_configuration(cli.load(Train, file, ["train.tracker=tensorboard", "train.cpu=false"]), tmp_path / "saved.yaml")
    now = cli.load(Train, file, ["train.tracker=null", "train.cpu=true"])
    expected = {"train.cpu: false -> true", "train.tracker: tensorboard -> null"}
    assert set(differences(now, tmp_path / "saved.yaml")) == expected


def test_a_numeric_key_without_a_finite_range_is_an_error():
    """``schemas`` checks every shipped schema in the same way, so a new key cannot lack its range."""

    @dataclass
    class Forgets:
        rate: float | None = option(None, "no range")

    @dataclass
    class Infinite:
        sizes: list[int] = option([1], "half a range", minimum=1, maximum=float("inf"))

    for schema in (Forgets, Infinite):
        with pytest.raises(TypeError, match="requires a finite minimum and maximum"):
            require_ranges([schema])
    require_ranges([*schemas().values(), Data])


NUMERIC = [
    (name, key) for name, schema in schemas().items() for key, entry in keys(schema).items() if number_kind(entry.type)
]


@pytest.mark.parametrize(("script", "key"), NUMERIC)
def test_no_number_is_infinite_nan_or_absurd(script: str, key: str, file: Path):
    schema = schemas()[script]
    for number in ("nan", "inf", "-inf", "1e400", str(10**30), "-" + "9" * 25):
        with pytest.raises(UsageError, match=rf"^command line: {key}="):
            cli.load(
                schema, file, [f"{key}={f'[{number}, {number}]' if 'list' in str(keys(schema)[key].type) else number}"]
            )


@pytest.mark.parametrize(
    ("schema", "override", "message"),
    [
        (Train, "train.max_gradient_norm=-1", "is not allowed; use 1e-09 or more"),
        (Train, "train.max_gradient_norm=0", "is not allowed; use 1e-09 or more"),
        (Train, "train.learning_rate=.inf", "is not allowed; use a number"),
        (Train, "train.epochs=inf", "is not allowed; use 1000000.0 or less"),
        (Train, "train.batch_size=8.0", "is not allowed; use a whole number"),
        (Train, "train.batch_size=true", "is not allowed; use a whole number"),
        (Train, "train.learning_rate=true", "is not allowed; use a number"),
        (Train, "train.cpu=maybe", "is not allowed; use true or false"),
        (Train, "train.seed=" + "1" * 5000, "is not allowed; use a whole number"),
        (Train, "output=", "=null is not allowed; give a value"),
        (Train, "output=a\udcffb", "not UTF-8"),
        (TrainAutoencoder, "channels=[0]", "is not allowed; use numbers of 1 or more"),
        (TrainAutoencoder, "channels=[16, -2]", r"channels=\[16, -2\] is not allowed; use numbers of 1"),
        (TrainAutoencoder, "channels=16", "is not allowed; use a list of numbers"),
        (TrainAutoencoder, "channels=[[16]]", "is not allowed; use a whole number"),
        (PreprocessSift, "data.matches_frame=[100000, 100000]", "is not allowed; use numbers of 8192 or less"),
        (Infer, "steps=2024-99-99", "steps=2024-99-99 is not allowed; use a whole number"),
        (Infer, "steps=!!int x", "steps=!!int x is not allowed; use a whole number"),
        (Infer, "data.split=null", "=null is not allowed; give a value"),
        (Evaluate, "predictions=a", r"is not allowed; give each entry a name, predictions\.<name>=…"),
        (Evaluate, "predictions.=a", r"is not allowed; give each entry a name, predictions\.<name>=…"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_its_origin(file: Path, schema: type, override: str, message: str):
    with pytest.raises(UsageError, match=message) as raised:
        cli.load(schema, file, [override])
    assert str(raised.value).startswith(f"command line: {override[:40]}".split("=")[0])
    assert "\n" not in str(raised.value)


def test_numbers_mean_the_same_in_a_file_and_on_the_command_line(tmp_path: Path):
    """YAML 1.1 alone would read 0050 as the octal number 40, 1:30 as 90, and 1e-3 as a text."""
    path = tmp_path / "numbers.yaml"
    path.write_text("steps: 0050\nguidance: 1e-3\nstrict: yes\nlimit: ~\n")
    config = cli.load(Infer, path)
    assert (config.steps, config.guidance, config.strict, config.limit) == (50, 1e-3, True, None)
    assert cli.load(Infer, path, ["steps=0051", "strict=off", "limit=3"]).steps == 51
    path.write_text("steps: 1:30\n")
    with pytest.raises(UsageError, match=rf"^{path}: steps=1:30 is not allowed; use a whole number"):
        cli.load(Infer, path)


BOMB = "seeds: &a0 [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"timesteps{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("steps: !!int foo", "line 1, column 8: the tag .* is not supported"),
        ("output: !!timestamp foo", "the tag .* is not supported"),
        (
            "data: &a {root: *a}",
            "line 1, column 7: an alias gives more than 20 levels of lists and sections; remove it",
        ),
        ("output: " + "[" * 5000, "line 1, column [0-9]+: more than 20 levels of lists and sections"),
        (BOMB, "more than 10,000 values"),
        ("steps: 3\ndata:\n\troot: x", "line 3, column 1: .*use spaces"),
        ("steps: 3\nlimit: 4\nsteps: 5", "line 3, column 1: steps is given twice"),
        ("data.height: 64\ndata: {height: 8}", r"data\.height is given twice"),
        ("[1, 2]: 3", "line 1, column 1: a list or a section cannot be a key"),
        ("3: x", "unknown key 3"),
        ("data: [1, 2]", r"data=\[1, 2\]: data is a section; give its keys, e\.g\. data\."),
        ("data: here", "data=here: data is a section"),
        ("output: {a: 1}", r"unknown key output\.a"),
        ("steps: {}", r"steps=\{\} is not allowed; use a whole number"),
        ("output: ''", "output=: the path is empty"),
        ('output: "a\\0b"', "contains a null character, or bytes that are not UTF-8"),
        ("base: mine.yaml", "base=mine.yaml leads back to this file"),
        ("base: other.yaml", r"mine\.yaml: base: .*other\.yaml: no such file"),
        ("base: [1]", r"base=\[1\] is not allowed; use the path of a YAML file"),
        ("a: 1\n---\nb: 2", "line 2, column 1: a second document begins here"),
        ("guidance: .nan", "is not allowed; use a number"),
        ("x" * 2_000_000, "is larger than 1 MiB"),
        (b"\xff\xfeo\x00", "is UTF-16; save it as UTF-8"),
        (b"PK\x03\x04\x99", "not UTF-8 text"),
        (b"output: a\x07b", r"line 1, column 10: the character U\+0007 is not allowed"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_broken_file_is_one_line_that_says_where(tmp_path: Path, content: str | bytes, message: str):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=message) as raised:
        cli.load(Infer, path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_folder_is_not_a_configuration(tmp_path: Path):
    with pytest.raises(UsageError, match="is not a file; name a YAML file"):
        cli.load(Infer, tmp_path)


def test_what_yaml_would_read_as_something_else_stays_as_it_is_written(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("\ufeffperson: 00006_00\ngarment: 2024-99-99\nlayers: all\ncheckpoints:\n  no: a\n  1.50: b\n")
    config = cli.load(VisualizeAttention, path)
    assert (config.person, config.garment) == ("00006_00", "2024-99-99")
    assert config.checkpoints == {"no": "a", "1.50": "b"}


@pytest.mark.parametrize("text", ["output: ???", "checkpoints: {a: '???'}"])
def test_a_missing_value_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml: .*\?\?\? stands for a missing value"):
        cli.load(VisualizeAttention, path)


@pytest.mark.parametrize("text", ["${", "a\\${b}", "\\\\${x}\\", "$$${nope}", "{base} ${oc.env:HOME}"])
def test_what_omegaconf_would_interpolate_stays_as_it_is(text: str):
    config = cli.load(VisualizeAttention, CONFIGS / "toy.yaml", [f"person={text}"])
    assert config.person == text


def test_an_empty_section_changes_nothing(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("data:\ntrain: {}\nseed: 4\n")
    assert cli.load(Infer, path) == cli.load(Infer, path, ["seed=4"])


def test_a_name_may_have_dots_wherever_it_is_given(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("predictions: {sd1.5: a}\npredictions.v2.0: b\n")
    config = cli.load(Evaluate, path, ["predictions.v.3=c", "predictions.x[0]=d"])
    assert config.predictions == {"sd1.5": "a", "v2.0": "b", "v.3": "c", "x[0]": "d"}
    save_configuration(config, tmp_path / "saved.yaml")
    assert cli.load(Evaluate, tmp_path / "saved.yaml") == config
    assert differences(config, tmp_path / "saved.yaml") == []
    other = cli.load(Evaluate, tmp_path / "saved.yaml", ["predictions.sd1.5=z"])
    assert [line.split(":")[0] for line in differences(other, tmp_path / "saved.yaml")] == ["predictions"]
    path.write_text("predictions: {sd1: {5: a}}\n")
    with pytest.raises(UsageError, match=r"predictions\.sd1=\{5: a\} is not allowed; use plain text"):
        cli.load(Evaluate, path)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "empty.yaml"
    path.write_text("seed: 0\n")
    return path


def test_home_and_variables_are_replaced_in_paths_and_nowhere_else(empty: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/a$USER")
    monkeypatch.setenv("SCRATCH", "/scratch")
    overrides = ["output=~/out", "checkpoint=${SCRATCH}/m", "data.root=$SCRATCH/~/d", "scheduler=$SCRATCH"]
    config = cli.load(Infer, empty, overrides)
    assert config.output == "/home/a$USER/out", "what a variable holds is not read again"
    assert (config.checkpoint, config.data.root, config.scheduler) == ("/scratch/m", "/scratch/~/d", "$SCRATCH")
    evaluated = cli.load(Evaluate, empty, ["predictions.a=~/r/{person}.png"])
    assert evaluated.predictions == {"a": "/home/a$USER/r/{person}.png"}


@pytest.mark.parametrize("path", ["price$/x", "$5", "a~b", "./~x", "$$", "a$$b", "x/$", "{person}$"])
def test_a_dollar_or_a_tilde_that_belongs_to_a_name_survives(empty: Path, tmp_path: Path, path: str):
    config = cli.load(Infer, empty, [f"output={path}"])
    assert config.output == path.replace("$$", "$")
    save_configuration(config, tmp_path / "saved.yaml")
    assert cli.load(Infer, tmp_path / "saved.yaml") == config
    assert differences(config, tmp_path / "saved.yaml") == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("${nope}/x", "the environment variable nope is not set; set it, or write"),
        ("$NOT_SET_1/x", "the environment variable NOT_SET_1 is not set"),
        ("${EMPTY}/x", "the environment variable EMPTY is not set"),
        ("${oc.env:HOME}", "the environment variable oc.env:HOME is not set"),
        ("${output", "the environment variable output is not set"),
        ("~nobody_of_this_name/x", "no home folder is known for ~nobody_of_this_name"),
        ("x ", "the path begins or ends with a space or a line break; remove it"),
        (" x", "the path begins or ends with a space or a line break; remove it"),
    ],
)
def test_a_path_that_cannot_be_resolved_is_refused_by_name(empty: Path, monkeypatch, path: str, message: str):
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(UsageError, match=message):
        cli.load(Infer, empty, [f"output={path}"])
    mine = empty.with_name("mine.yaml")
    mine.write_text(f"output: '{path}'\n")
    with pytest.raises(UsageError, match=message):
        cli.load(Infer, mine)


def test_an_empty_home_variable_does_not_mean_the_root_folder(empty: Path, monkeypatch):
    monkeypatch.setenv("HOME", "")
    with pytest.raises(UsageError, match="no home folder is known for ~"):
        cli.load(Infer, empty, ["output=~/x"])


def test_windows_line_ends_of_a_shell_script_are_refused_in_a_path(empty: Path):
    with pytest.raises(UsageError, match="output=x: the path begins or ends with a space or a line break"):
        cli.load(Infer, empty, ["output=x\r"])


def test_every_key_that_names_a_file_or_a_folder_is_a_path():
    words = ("folder", ".pt", ".pth", "path of", "YAML file", ".safetensors")
    names = {"validation_pairs", "split", "layout", "height", "arms"}  # whose help speaks of folders, too
    for schema in schemas().values():
        for key, entry in keys(schema).items():
            named = "str" in str(entry.type) and any(word in entry.metadata["help"] for word in words)
            if entry.name not in {*names, "person", "garment", "push_to_hub"}:
                assert entry.metadata["path"] == named, f"{schema.__name__}.{key}"


def test_any_text_survives_a_round_trip(empty: Path, tmp_path: Path):
    draw = random.Random(0)
    alphabet = "ab01 -:#'\"{}[]$~|>%&*!?\\,.=\t\n\x85\u2028é界🙂_"
    texts = ["null", "~", "", "no", "1e3", "007", "2024-01-01", "<<", "=", "- a", " a ", "a: b", "a #b", "\ufeffa"]
    texts += ["".join(draw.choices(alphabet, k=draw.randint(1, 12))) for _ in range(300)]
    for text in texts:
        config = Experiment(arms={"a": text, "b.c": text}, reference=text, references={"a": text}, output=f"x{text}x")
        save_configuration(config, tmp_path / "saved.yaml")
        assert cli.load(Experiment, tmp_path / "saved.yaml") == config, repr(text)


def test_what_ships_with_the_code_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkout = CONFIGS.parent
    monkeypatch.chdir(tmp_path)
    config = cli.load(Infer, "configs/toy.yaml")
    assert config.checkpoint == str(checkout / "checkpoints/toy")
    assert config.data.root == "data/toy", "what does not ship starts from the current folder"
    assert cli.load(Experiment, "configs/experiment.yaml").settings == str(checkout / "configs/experiment.yaml")
    assert cli.load(EvaluateToy, "configs/toy.yaml", ["output=checkpoints/toy"]).output == "checkpoints/toy"
    (tmp_path / "checkpoints/toy").mkdir(parents=True)
    assert cli.load(Infer, "configs/toy.yaml").checkpoint == "checkpoints/toy", "the current folder comes first"
    with pytest.raises(UsageError, match=rf"--config mine\.yaml: no such file \(looked in {tmp_path}\)"):
        cli.load(Infer, "mine.yaml")


def test_help_loads_no_slow_library():
    code = (
        "import sys; sys.argv = ['infer.py', '--help']\n"
        "from siftvton import cli; from siftvton.commands import Command; from siftvton.commands.infer import Infer\n"
        "try: cli.run(Command(Infer, None, 'toy.yaml'))\n"
        "except SystemExit: print([name for name in ('torch', 'cv2', 'numpy', 'filelock') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CONFIGS.parent, check=True)
    assert done.stdout.endswith("\n[]\n")
