"""Pictures for the eye: matches drawn between two photos, sheets of pictures."""

from collections.abc import Sequence

import cv2
import numpy as np

from siftvton.correspondence import Correspondences

GAP = 8  # pixels between pictures
CAPTION = 22  # pixels of the line above a picture
FAINT = 0.35  # how much of a dropped match's line shows
DROPPED = (128, 128, 128)
SUBPIXEL = 4  # OpenCV's drawing takes coordinates in 1/2⁴ pixel


def draw_matches(
    person: np.ndarray,
    garment: np.ndarray,
    kept: Correspondences,
    dropped: Correspondences | None = None,
) -> np.ndarray:
    """Photo and garment side by side, a line from point to point: kept matches in colours, dropped ones faint.

    Args:
        person: (height, width, 3) uint8, red first.
        garment: (height, width, 3) uint8, red first, of the same size.
        kept: in any frame; points are mapped to the pictures' size.
        dropped: likewise; None: nothing else to show.

    Returns:
        (height, 2·width + a gap, 3) uint8, red first.
    """
    assert person.shape == garment.shape, f"pictures of {person.shape} and {garment.shape} do not share a frame"
    side_by_side = np.hstack([person, np.full((len(person), GAP, 3), 255, np.uint8), garment])
    if dropped is not None:
        lines = side_by_side.copy()
        _draw_lines(lines, dropped, [DROPPED] * len(dropped))
        side_by_side = cv2.addWeighted(lines, FAINT, side_by_side, 1 - FAINT, 0)
    _draw_lines(side_by_side, kept, _colours(len(kept)))
    return side_by_side


def _draw_lines(canvas: np.ndarray, matches: Correspondences, colours: Sequence[tuple[int, ...]]) -> None:
    width = (canvas.shape[1] - GAP) // 2
    matches = matches.resized((canvas.shape[0], width))
    starts = np.rint(matches.person * 2**SUBPIXEL).astype(int).tolist()
    ends = np.rint((matches.garment + np.array([width + GAP, 0])) * 2**SUBPIXEL).astype(int).tolist()
    for start, end, colour in zip(starts, ends, colours, strict=True):
        cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA, SUBPIXEL)
        for point in (start, end):
            cv2.circle(canvas, point, 2 << SUBPIXEL, colour, -1, cv2.LINE_AA, SUBPIXEL)


def _colours(count: int) -> list[tuple[int, ...]]:
    """``count`` colours around the circle of hues, neighbours in the list far apart."""
    hues = (np.arange(count) * 180 * 0.618034 % 180).astype(np.uint8)  # golden ratio: never close to a recent one
    if count == 0:
        return []
    hsv = np.stack([hues, np.full_like(hues, 255), np.full_like(hues, 255)], axis=1)
    return [tuple(colour) for colour in cv2.cvtColor(hsv[:, None], cv2.COLOR_HSV2RGB)[:, 0].tolist()]


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]], captions: Sequence[Sequence[str]], height: int = 256
) -> np.ndarray:
    """Rows of pictures with a caption above each, on white.

    Args:
        rows: pictures of any size, (height, width, 3) uint8, red first.
        captions: one for each picture, "" for none; characters beyond ASCII show as question marks.
        height: what each picture is resized to, in pixels; its proportions stay.

    Returns:
        (height, width, 3) uint8, red first.
    """
    assert rows, "a sheet needs a row"
    strips = [
        np.hstack([_captioned(*entry, height) for entry in zip(row, texts, strict=True)])
        for row, texts in zip(rows, captions, strict=True)
    ]
    sheet = np.full((sum(len(strip) for strip in strips), max(strip.shape[1] for strip in strips), 3), 255, np.uint8)
    top = 0
    for strip in strips:
        sheet[top : top + len(strip), : strip.shape[1]] = strip
        top += len(strip)
    return sheet


def _captioned(picture: np.ndarray, caption: str, height: int) -> np.ndarray:
    """The picture, resized, below its caption, with a gap to the right and below."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    tile = np.full((CAPTION + height + GAP, width + GAP, 3), 255, np.uint8)
    tile[CAPTION : CAPTION + height, :width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    text = caption.encode("ascii", "replace").decode()
    (text_width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    size = 0.45 * min(1.0, width / max(1, text_width))  # a long caption shrinks rather than being cut
    cv2.putText(tile, text, (0, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    return tile
