"""Two drawn pairs with side pictures, their published matches, and a configuration to match them."""

import json
from pathlib import Path

from siftvton.commands.preprocess_sift import PreprocessSift
from siftvton.data.config import SiftData

SAMPLE = Path(__file__).parent / "golden" / "preprocess_sample"
SMALL = [256, 192]  # a quarter of the time, for tests that do not look at the matches themselves
FULL = [512, 384]  # the frame of the published matches
PUBLISHED = json.loads(SAMPLE.with_suffix(".json").read_text())


def configuration(root: Path, output: Path | None, **changes: object) -> PreprocessSift:
    frame = changes.pop("frame", SMALL)
    values = {"workers": 1, "preview": 0, **changes}
    data = SiftData(root=str(root), split="train", matches_frame=frame)  # type: ignore[arg-type]
    return PreprocessSift(data=data, output=str(output) if output else None, **values)  # type: ignore[arg-type]
