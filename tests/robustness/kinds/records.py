"""Small files that scripts write for each other: match files, counts.jsonl, measures, the demo folder, world.json."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from robustness.harness import Bench, Case, Finished, Verdict, judged
from robustness.mutations import IN_PLACE, VALUES, json_changes, key_changes, truncations, with_value
from robustness.world import HEIGHT, REPORT_NUMBERS, REPORT_PICTURES, REPORT_TABLES, WIDTH

POINTS = [[[30.0, 40.0], [20.0, 30.0]], [[50.5, 60.5], [40.0, 41.0]]]
WORLD = {"seed": 0, "height": HEIGHT, "width": WIDTH}
COUNTS = {"pair": "00000_00", "sides": [], "regions": {"torso": {"ratio": 3, "minimum": 1}}}
MEASURES = {
    "arm": "none",
    "seed": 0,
    "keys": "supervision.weight=0",
    "split": "test",
    "measures": {"print_error_unpaired": 0.5, "ssim_paired": 0.9},
    "per_image": {"print_error_unpaired": {"00000_00": 0.4, "00001_00": 0.6}},
}
METRICS = {"update": 1, "noise": 0.5, "sift": 0.25}


def _match_values() -> Iterator[tuple[str, bytes]]:
    """Match files with other values in place of a match, a point and a coordinate."""
    for name, value in VALUES.items():
        for place, path in {"match": (0,), "point": (0, 1), "coordinate": (1, 0, 1)}.items():
            yield f"{place} is {name}", json.dumps(with_value(POINTS, path, value)).encode()
    for name, number in {
        "beyond the frame": WIDTH + 5, "far beyond": 1e5, "before the frame": -0.6, "1e308": 1e308, "1e999": None,
        "an integer of 400 digits": 10**400, "numbers as text": "30", "a point of three": None,
    }.items():  # fmt: skip
        text = json.dumps(with_value(POINTS, (0, 0, 0), number))
        if name == "1e999":
            text = text.replace("null", "1e999")
        if name == "a point of three":
            text = json.dumps(with_value(POINTS, (0, 0), [1, 2, 3]))
        yield name, text.encode()


def cases() -> Iterator[Case]:
    whole = json.dumps(POINTS).encode()
    files = {**dict(json_changes(POINTS)), **dict(_match_values()), **IN_PLACE}
    files |= {name: cut(whole) for name, cut in truncations(7).items()}
    for place, (name, data) in enumerate(files.items()):
        for script in ("visualize_reference", ("preprocess_sift", "train")[place % 2]):
            yield Case("match files", f"{script}: {name}", partial(_match_file, script, data))

    records = [*key_changes(COUNTS), *((f"regions: {n}", {**COUNTS, "regions": r}) for n, r in _regions())]
    lines = {**dict(json_changes(COUNTS)), **IN_PLACE, **{n: json.dumps(c).encode() for n, c in records}}
    for name, data in lines.items():
        yield Case("counts.jsonl", name, partial(_counts, data))

    inner = [(f"{key}.{name}", {**MEASURES, key: value}) for key in ("measures", "per_image") for name, value in
             key_changes(MEASURES[key])]  # fmt: skip
    images = key_changes(MEASURES["per_image"]["print_error_unpaired"])
    inner += [(f"image {n}", {**MEASURES, "per_image": {"print_error_unpaired": v}}) for n, v in images]
    documents = {n: json.dumps(c).encode() for n, c in [*key_changes(MEASURES), *inner]}
    documents |= {**dict(json_changes(MEASURES)), **IN_PLACE}
    documents |= {name: cut(json.dumps(MEASURES).encode()) for name, cut in truncations(4).items()}
    for name, data in documents.items():
        yield Case("measures", name, partial(_measures, data))

    logs = {n: json.dumps(c).encode() for n, c in key_changes(METRICS)} | dict(json_changes(METRICS)) | IN_PLACE
    for name, data in logs.items():
        yield Case("report", f"metrics.jsonl: {name}", partial(_report, "train/metrics.jsonl", data))
    for file in (*REPORT_PICTURES, *REPORT_TABLES, *REPORT_NUMBERS):
        for name in ("empty", "noise", "HTML page"):
            yield Case("report", f"{file}: {name}", partial(_report, file, IN_PLACE[name]))
        yield Case("report", f"{file}: missing", partial(_report, file, None))

    notes = {n: json.dumps(c).encode() for n, c in key_changes(WORLD)} | dict(json_changes(WORLD)) | IN_PLACE
    for place, (name, data) in enumerate(notes.items()):
        script = ("evaluate_toy", "make_toy_data")[place % 2]
        yield Case("world.json", f"{script}: {name}", partial(_world, script, data))


def _regions() -> Iterator[tuple[str, Any]]:
    regions = COUNTS["regions"]
    yield from key_changes(regions)
    for name, value in key_changes(regions["torso"]):
        yield f"stage {name}", {"torso": value}


def _match_file(script: str, data: bytes, bench: Bench) -> Verdict:
    folder = bench.copy("matches")
    path = folder / "00000_00_sift_matches.json"
    path.write_bytes(data)
    readable = _is_match_file(data)
    if script == "train":
        keys = (f"data.matches={folder}", "data.validation_pairs=0", "train.updates=3")
        return judged(bench.run("train", *keys), [path.name], lambda: "" if readable else "trained on it")
    if script == "visualize_reference":
        finished = bench.run("visualize_reference", f"matches={folder}")
        return judged(finished, [path.name], lambda: "" if readable else "drawn")
    shutil.copytree(folder, bench.output)
    finished = bench.run("preprocess_sift", "workers=1")
    whole = bench.world.matches / path.name

    def made_again() -> str:
        same = (bench.output / path.name).read_bytes() == whole.read_bytes()
        return "" if same or readable else "the broken file is still there"

    return judged(finished, [path.name], made_again)


def _is_match_file(data: bytes) -> bool:
    """Whether the bytes are a list of pairs of points inside the frame."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
        points = [point for match in content for point in match]
        numbers = [value for point in points for value in point]
        shaped = isinstance(content, list) and all(len(match) == 2 for match in content)
        return (
            shaped
            and all(len(point) == 2 for point in points)
            and all(type(value) in (int, float) and math.isfinite(value) for value in numbers)
            and all(-0.5 <= x <= WIDTH - 0.5 and -0.5 <= y <= HEIGHT - 0.5 for x, y in points)
        )
    except (ValueError, TypeError, RecursionError, OverflowError):
        return False


def _counts(data: bytes, bench: Bench) -> Verdict:
    """Replace the first line of the record; the pair must be matched again, and the table must be the same."""
    shutil.copytree(bench.world.matches, bench.output)
    path = bench.output / "counts.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([data, *lines[1:]]))
    finished = bench.run("preprocess_sift", "workers=1")

    def same() -> str:
        made, whole = ((folder / "matches.md").read_text() for folder in (bench.output, bench.world.matches))
        return "" if made == whole else "matches.md differs"

    return judged(finished, [path.name], same)


def _measures(data: bytes, bench: Bench) -> Verdict:
    folder = bench.copy("measures")
    path = folder / "none-seed-0.json"
    path.write_bytes(data)
    report = bench.output / "results"
    finished = bench.run("experiment", f"measures={folder}", f"report={report}")

    def flaw() -> str:
        keys = (f"measures={bench.world.measures}", f"report={bench.world.folder}/references/tables/results")
        whole = bench.world.reference("tables", "experiment", *keys) / "results.json"
        made = Path(f"{report}.json").read_text()
        if "NaN" in made or "Infinity" in made:
            return "the tables hold NaN or infinity"
        return "" if made == whole.read_text() or _is_measured(data) else "the tables are made of it"

    return judged(finished, [path.name], flaw)


def _is_measured(data: bytes) -> bool:
    """Whether the bytes hold valid numbers for this arm, seed, split and these keys."""
    try:
        content = json.loads(data.decode("utf-8-sig"))
        fixed = all(content[key] == MEASURES[key] for key in ("arm", "seed", "keys", "split"))
        images = content["per_image"]["print_error_unpaired"]
        numbers = [*content["measures"].values(), *images.values()]
        return fixed and all(type(value) in (int, float) and math.isfinite(value) for value in numbers)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _report(file: str, data: bytes | None, bench: Bench) -> Verdict:
    shutil.copytree(bench.world.report, bench.output)
    path = bench.output / file
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    finished: Finished = bench.run("report")

    def flaw() -> str:
        page = (bench.output / "report.html").read_text()
        if data is None:  # a run without validation has no sheet
            return "" if "validation" in file else "made without it"
        if file.endswith(".jsonl"):
            shown = re.sub(r'base64,[^"]*', "", page).replace("information", "")
            return "nan in the chart" if "nan" in shown or "inf" in shown else ""
        return "" if file.endswith(".md") else "made of a broken file"

    return judged(finished, [path.name, path.parent.name], flaw)


def _world(script: str, data: bytes, bench: Bench) -> Verdict:
    root = bench.copy("data")
    path = root / "world.json"
    path.write_bytes(data)
    try:
        same = json.loads(data.decode("utf-8-sig")) == WORLD
    except (ValueError, RecursionError):
        same = False
    if script == "make_toy_data":
        root.rename(bench.output)
        keys = ("train_pairs=3", "test_pairs=2", f"height={HEIGHT}", f"width={WIDTH}", "workers=1", "exact_map=true")
        finished = bench.run("make_toy_data", *keys)
        return judged(
            finished, ["world.json", "another world", str(bench.output)], lambda: "" if same else "gone on with"
        )
    finished = bench.run(
        "evaluate_toy", f"data.root={root}", f"predictions={bench.world.results}", "workers=1", "others=0"
    )

    def flaw() -> str:
        whole = bench.world.reference(
            "toy scores", "evaluate_toy", f"predictions={bench.world.results}", "workers=1", "others=0"
        )
        made = (bench.output / "toy.md").read_text() == (whole / "toy.md").read_text()
        return "" if made else "other scores"

    return judged(finished, ["world.json"], flaw)
