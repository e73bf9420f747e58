"""Configuration: what is accepted, what is refused, and with which line."""

from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from siftvton import cli
from siftvton.config import SCRIPTS, Evaluate, Infer, PreprocessSift, Train, VisualizeAttention
from siftvton.errors import InputError, UsageError

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
@pytest.mark.parametrize("schema", SCRIPTS.values(), ids=SCRIPTS)
def test_every_shipped_file_fits_every_script(name: str, schema: type):
    cli.load(schema, CONFIGS / name)


def test_overlays_hold_their_differences():
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
        ("train.lr=3", r"did you mean train\.learning_rate\?"),
        ("batch_size=4", r"did you mean train\.batch_size\?"),
        ("train.batch_size=many", r"train\.batch_size=many: .*could not be converted to Integer"),
        ("train.batch_size=0", "at least 1 is allowed"),
        ("train.dropout=1.5", "at most 1 is allowed"),
        ("supervision.layers=top", "allowed are middle, all"),
        ("data.matches_frame=[512]", "2 numbers are wanted"),
        ("data.matches_frame=[512, 0]", "at least 8 is allowed"),
        ("model.channels=[]", "some numbers are wanted"),
        ("data.root=[1", "the value is not YAML"),
        ("resume", "is not key=value"),
        ("train=3", "unknown key train"),
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
        ("train: {mixed_precision: no}", "train.mixed_precision=False: text is wanted; put it in quotes"),
        ("- 1", "holds no keys"),
        ("", "holds no keys"),
        ("a: [1", "not YAML"),
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
    with pytest.raises(UsageError, match="not YAML"):
        cli.load(Train, path)
    assert not (tmp_path / "ran").exists()


def test_text_that_looks_like_a_number_stays_text(file: Path, tmp_path: Path):
    """YAML reads 00006_00 as an octal number, and no as false."""
    config = cli.load(VisualizeAttention, file, ["person=00006_00", "garment=null", "checkpoints.a=1e3"])
    assert (config.person, config.garment, config.checkpoints) == ("00006_00", None, {"a": "1e3"})
    assert cli.load(Train, file, ["train.mixed_precision=no"]).train.mixed_precision == "no"
    cli.save(config, tmp_path / "saved.yaml")
    assert cli.load(VisualizeAttention, tmp_path / "saved.yaml") == config


def test_dictionary_keys_take_any_name(file: Path):
    config = cli.load(Evaluate, file, ["predictions.ours=a", "predictions.theirs=b"])
    assert config.predictions == {"ours": "a", "theirs": "b"}


def test_a_saved_configuration_repeats_itself_and_shows_differences(file: Path, tmp_path: Path):
    config = cli.load(Train, file)
    cli.save(config, tmp_path / "saved.yaml")
    assert cli.load(Train, tmp_path / "saved.yaml") == config
    other = cli.load(Train, file, ["train.seed=7", "model.channels=[32,32]"])
    assert cli.differences(config, tmp_path / "saved.yaml") == []
    assert cli.differences(other, tmp_path / "saved.yaml") == [
        "model.channels: [320, 640, 1280, 1280] -> [32, 32]",
        "train.seed: 0 -> 7",
    ]


def called(monkeypatch: pytest.MonkeyPatch, main, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["scripts/train.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.run(main, Train, default="vitonhd.yaml")
    return stopped.value.code


def never(config: Train) -> None:
    raise AssertionError("called")


def test_dry_run_prints_the_resolved_configuration_and_calls_nothing(monkeypatch, capsys, tmp_path: Path):
    assert called(monkeypatch, never, "--dry-run", "train.seed=3") == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert cli.load(Train, tmp_path / "printed.yaml").train.seed == 3


def test_help_lists_every_key(monkeypatch, capsys):
    assert called(monkeypatch, never, "--help") == 0
    text = capsys.readouterr().out
    for key in (
        "data.root=data/vitonhd",
        "supervision.max_timestep=500",
        "train.learning_rate=0.0001",
        "resume=latest",
    ):
        assert f"  {key}\n" in text


def fail(error: BaseException):
    def main(config: Train) -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("a.jpg: no"), 1), (UsageError("b=3"), 2), (KeyboardInterrupt(), 130)]
)
def test_a_users_mistake_is_one_line_and_an_exit_code(monkeypatch, capsys, error: BaseException, code: int):
    assert called(monkeypatch, fail(error)) == code
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert str(error) in message


def test_a_data_loaders_worker_says_no_more_than_its_error(monkeypatch, capsys):
    class Broken(Dataset):
        def __getitem__(self, index: int):
            raise InputError("a.jpg: cannot be decoded")

        def __len__(self) -> int:
            return 1

    def main(config: Train) -> None:
        next(iter(DataLoader(Broken(), num_workers=1)))

    assert called(monkeypatch, main) == 1
    assert capsys.readouterr().err == "train.py: a.jpg: cannot be decoded\n"


@pytest.mark.parametrize("arguments", [["--config", "nowhere.yaml"], ["--config"], ["--speed", "3"], ["lr=3"]])
def test_a_wrong_command_line_exits_with_2_and_one_line(monkeypatch, capsys, arguments: list[str]):
    assert called(monkeypatch, never, *arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_our_own_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr("sys.argv", ["scripts/train.py"])
    with pytest.raises(ZeroDivisionError):
        cli.run(fail(ZeroDivisionError()), Train, default="vitonhd.yaml")
