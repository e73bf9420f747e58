"""The page that ends the demo."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from siftvton.errors import InputError
from siftvton.files import write_image, write_json, write_text
from siftvton.toy.showcase import write_page


class Page(HTMLParser):
    """A page's tags with their attributes, the text of its cells by table caption, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text = self.element = ""  # of the whole page, and since an element's start
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("caption", "td", "th"):
            self.element = ""
        elif tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        if tag == "caption":
            self.rows = self.tables[self.element] = []
        elif tag in ("td", "th"):
            self.rows[-1].append(self.element)

    def handle_data(self, data):
        self.element += data
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (
        "matches/previews.jpg",
        "train/validation/update-0000002.png",
        "against_truth/toy.png",
        "attention/attention_maps.png",
        "scores_unpaired/comparison.png",
    ):
        write_image(tmp_path / name, np.full((40, 60, 3), (200, 30, 30), np.uint8))
    for name in (
        "against_truth/toy.md",
        "attention/attention_error.md",
        "attention_tuned/attention_error.md",
        "scores_unpaired/table.md",
        "scores_paired/table.md",
    ):
        write_text(tmp_path / name, "| name | size |\n| --- | ---: |\n| a | 1 |\n")
    write_text(
        tmp_path / "matches/matches.md",
        "# Matches of `train`\n\n2 pairs.\n\n| stage | left |\n|---|---:|\n| <b>ratio</b> & more |  |\n| end | 5 |\n\n"
        "- one <i>\n- two\n",
    )
    write_text(tmp_path / "train/metrics.jsonl", '{"noise": 1.0, "sift": 0.0}\n{"noise": 0.5, "sift": 2.0}\n')
    share = {"value": 0.75, "interval": [0.5, 0.9], "cases": 11}
    measures = dict.fromkeys(("print_closest_by_error", "colour_right", "unchanged"), share)
    write_json(tmp_path / "against_truth/toy.json", {"results": 12, **measures})
    for name, error in (("attention", 44.0), ("attention_tuned", 43.0)):
        entry = {"value": error, "interval": [error - 6, error + 6]}
        write_json(tmp_path / name / "attention_error.json", {"images": 12, "attention_error_px": entry})
    results = {
        name: {"pictures": 12, "scores": {"autoencoder_frechet": distance}}
        for name, distance in (("shipped", 9.214), ("tuned", 9.0))
    }
    write_json(tmp_path / "scores_unpaired/metrics.json", {"results": results})
    for number, points in enumerate((0, 3)):
        write_json(tmp_path / f"matches/{number:05d}_00_sift_matches.json", [[[1.0, 2.0], [3.0, 4.0]]] * points)
    return tmp_path


def test_the_page_needs_no_other_file(folder: Path):
    page = Page(write_page(folder))
    sources = [image["src"] for image in page.all("img")]
    assert len(sources) == 6
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert not [tag for tag, _ in page.tags if tag in ("link", "script", "iframe", "object", "embed")]
    assert not [value for _, attributes in page.tags for value in attributes.values() if "http" in (value or "")]
    assert not re.search(r"url\(|@import", (folder / "report.html").read_text(encoding="utf-8"))


def test_the_summary_gives_the_main_numbers_of_each_network(folder: Path):
    page = Page(write_page(folder))
    header, *rows = page.tables["The main numbers, with 95 % intervals in brackets"]
    assert header == ["Measure", "Shipped network", "Tuned network", "Counted over"]
    assert [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row[1:]] for row in rows] == [
        ["75.0 % (50.0 to 90.0)", "not measured", "11 results"],
        ["75.0 % (50.0 to 90.0)", "not measured", "11 results"],
        ["75.0 % (50.0 to 90.0)", "not measured", "11 results"],
        ["44.0 px (38.0 to 50.0)", "43.0 px (37.0 to 49.0)", "12 persons"],
        ["9.21", "9.00", "12 pictures"],
    ]
    assert "with 1.5 matches per pair on average" in page.text
    assert "2 more updates" in page.text.replace("\n", " ")


def test_markdown_becomes_html_and_its_text_is_escaped(folder: Path):
    page = Page(write_page(folder))
    assert page.tables["Matches left after each filter"] == [
        ["stage", "left"],
        ["<b>ratio</b> & more", ""],
        ["end", "5"],
    ]
    assert {
        "Results of the shipped network compared with the truth",
        "Other garments (unpaired)",
        "Own garments (paired)",
    } <= set(page.tables)
    assert "one <i>" in page.text
    assert not page.all("b")
    assert not page.all("i")
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h3>Matches of <code>train</code></h3>" in html
    assert "<p>2 pairs.</p>" in html
    assert "<li>two</li>" in html
    assert '<td>end</td><td class="number">5</td>' in html


@pytest.mark.parametrize("table", ["| only a header |", "|", "| a | b |\n|---|---:|\n| 1 |\n| 1 | 2 | 3 |", "| <!--"])
def test_a_table_of_another_form_is_shown_as_it_is(folder: Path, table: str):
    write_text(folder / "against_truth/toy.md", table)
    shown = Page(write_page(folder)).tables["Results of the shipped network compared with the truth"]
    lines = [line for line in table.splitlines() if "---" not in line]
    assert [[cell for cell in row if cell] for row in shown] == [
        [cell.strip() for cell in line.split("|") if cell.strip()] for line in lines
    ]


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((40, 60), (40, 60)), ((300, 2000), (150, 1000)), ((16000, 100), (8000, 50)), ((1, 3000), (1, 1000))],
)
def test_a_picture_is_no_larger_than_the_page_shows_it(folder: Path, shape: tuple[int, int], shown: tuple[int, int]):
    write_image(folder / "against_truth/toy.png", np.full((*shape, 3), (200, 30, 30), np.uint8))
    image = Page(write_page(folder)).all("img")[0]
    assert (image["height"], image["width"]) == (str(shown[0]), str(shown[1]))
    assert image["loading"] == "lazy"
    assert "the true picture" in image["alt"]
    content = base64.b64decode(image["src"].partition(",")[2])
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (*shown, 3)
    blue, green, red = decoded.reshape(-1, 3).mean(axis=0)
    assert red > 150 > 100 > max(blue, green)  # the channels are in order


def test_the_charts_go_from_the_largest_value_down_to_0(folder: Path):
    page = Page(write_page(folder))
    assert [line["points"] for line in page.all("polyline")] == ["0,0 1,0.5", "0,1 1,0"]
    assert "Error of the prediction" in page.text


def test_a_run_without_validation_has_no_validation_picture(folder: Path):
    (folder / "train/validation/update-0000002.png").unlink()
    assert len(Page(write_page(folder)).all("img")) == 5


@pytest.mark.parametrize(
    "name", ["scores_paired/table.md", "against_truth/toy.png", "attention_tuned/attention_error.json"]
)
def test_a_missing_step_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{re.escape(name)}: no such file; run `make demo`"):
        write_page(folder)
    assert not (folder / "report.html").exists()


def test_missing_match_files_are_named(folder: Path):
    for path in folder.glob("matches/*.json"):
        path.unlink()
    with pytest.raises(InputError, match="matches: holds no match files; run `make demo`"):
        write_page(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("against_truth/toy.json", {"results": 12}, "has no number print_closest_by_error.value"),
        ("against_truth/toy.json", {"results": None}, "has no number results"),
        ("against_truth/toy.json", {"results": True}, "has no number results"),
        ("against_truth/toy.json", {"results": 10**400}, "has no number results"),
        ("attention/attention_error.json", [], "has no number attention_error_px.value"),
        (
            "attention/attention_error.json",
            {"attention_error_px": {"value": 1.0, "interval": [1.0]}},
            "has no number attention_error_px.interval.1",
        ),
        ("scores_unpaired/metrics.json", {"results": "x"}, "has no number results.shipped.scores.autoencoder_frechet"),
        ("matches/00001_00_sift_matches.json", {"a": 1}, "holds no list of matches"),
    ],
)
def test_broken_numbers_are_one_line(folder: Path, name: str, content: object, message: str):
    write_json(folder / name, content)
    with pytest.raises(InputError, match=message) as raised:
        write_page(folder)
    assert str(folder / name) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"holds no update; delete the folder .*/train and run `make demo` again"),
        ('{"noise": 1.0, "sift": 0.0}\n{"update": 2, "noi', "line 2 lacks numbers `noise` and `sift`"),
        ("[1, 2]\n", "line 1 lacks numbers"),
        ("3\n", "line 1 lacks numbers"),
        ('{"noise": 1.0}\n', "line 1 lacks numbers"),
        ('{"noise": null, "sift": 0.0}\n', "line 1 lacks numbers"),
        ('{"noise": "x", "sift": 0.0}\n', "line 1 lacks numbers"),
        ('{"noise": NaN, "sift": 0.0}\n', "NaN is not a JSON number"),
        ('{"noise": 1e400, "sift": 0.0}\n', "line 1 lacks numbers"),
        ('{"noise": ' + "1" * 400 + ', "sift": 0.0}\n', "line 1 lacks numbers"),
        ("[" * 100_000, "line 1 lacks numbers"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_broken_metrics_are_one_line(folder: Path, content: str | bytes, message: str):
    (folder / "train/metrics.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as raised:
        write_page(folder)
    assert "train/metrics.jsonl: " in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (folder / "report.html").exists()


def test_a_table_that_is_not_text_is_named(folder: Path):
    (folder / "matches/matches.md").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"matches\.md: not UTF-8 text"):
        write_page(folder)


def test_a_file_that_is_not_a_picture_is_named(folder: Path):
    (folder / "against_truth" / "toy.png").write_text("<!doctype html>")
    with pytest.raises(InputError, match=r"against_truth/toy\.png: cannot be decoded"):
        write_page(folder)
    assert not (folder / "report.html").exists()
