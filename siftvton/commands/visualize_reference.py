"""Draw matches and the reference attention that follows from them."""

from dataclasses import dataclass, field
from pathlib import Path

from siftvton.commands import Command
from siftvton.data.config import SiftData
from siftvton.errors import InputError, UsageError
from siftvton.options import LARGEST_SIDE, MANY, option


@dataclass
class VisualizeReference:
    """Draw matches and the reference attention that follows from them (paper Fig. 2)."""

    data: SiftData = field(default_factory=SiftData)
    matches: str | None = option(None, "folder of match files; null: <root>/<split's folder>/sift_matching", path=True)
    cell: int = option(
        16,
        "side of a cell of the attention layer, in pixels of data.matches_frame",
        minimum=8,
        maximum=LARGEST_SIDE,
    )
    limit: int = option(4, "number of pairs with matches to draw", minimum=1, maximum=MANY)
    output: str = option("outputs/figures", "folder for reference.png", path=True)


def visualize_reference(config: VisualizeReference) -> str:
    """Write ``reference.png``: the first pairs with matches, and where a few cells learn to look (paper Fig. 2).

    Raises:
        InputError: matches or pictures cannot be read, or no pair has a match.
        UsageError: a cell is larger than the frame.
    """
    from siftvton.correspondence import read_matches
    from siftvton.data.layouts.base import GARMENT, IMAGE
    from siftvton.data.match_folder import matches_path, require_frame
    from siftvton.drawing import contact_sheet, draw_attention, draw_matches
    from siftvton.evaluation.attention_maps import reference_maps
    from siftvton.files import read_image, write_image
    from siftvton.settings import save_configuration
    from siftvton.wording import counted

    split, frame = config.data.open().split(config.data.split), config.data.frame
    folder = Path(config.matches) if config.matches else split.matches
    require_frame(folder, frame)
    if config.cell > min(frame):
        raise UsageError(f"cell={config.cell} is not allowed; use at most {min(frame)}")
    rows, captions = [], []
    for pair in split.matched_pairs():
        matches = read_matches(matches_path(folder, pair.person), frame)
        if not len(matches):
            continue
        person = read_image(split.require(IMAGE, pair.person), frame)
        garment = read_image(split.require(GARMENT, pair.garment), frame)
        points, maps = reference_maps(matches, (frame[0] // config.cell, frame[1] // config.cell))
        drawings = draw_attention(person, garment, points, maps, true_places=False)
        rows.append([draw_matches(person, garment, matches), *drawings])
        cells = [f"cell {number}" for number in range(1, len(drawings))]
        captions.append([f"{pair.person_id}: {counted(len(matches), 'match', 'matches')}", "query cells", *cells])
        if len(rows) == config.limit:
            break
    if not rows:
        raise InputError(f"{folder}: no pair has a match, so there is nothing to draw; name another folder by matches")
    path = Path(config.output) / "reference.png"
    write_image(path, contact_sheet(rows, captions))
    save_configuration(config, path.with_suffix(".yaml"))
    return str(path)


COMMAND = Command(VisualizeReference, visualize_reference, "vitonhd.yaml")
