"""Draw pictures to look at: matches between two pictures, attention, masks and DensePose over a photo, sheets."""

from collections.abc import Sequence

import cv2
import numpy as np

from siftvton.correspondence import Correspondences
from siftvton.correspondence.regions import densepose_labels

GAP = 8  # pixels between pictures
CAPTION = 22  # height of the caption above a picture, pixels
FAINT = 0.35  # opacity of the lines of dropped matches
DROPPED = (128, 128, 128)  # colour of dropped matches
SHEET_ROWS = 12  # pairs on a sheet of results
POINTS = 3  # query points on each person
LOOKED_AT, TRUTH = (255, 40, 0), (0, 200, 0)  # colours of the attention and of the true place, red first
TINT = (255, 0, 160)  # colour over a mask's white region, red first
OPACITY = 0.25  # of the tint
SUBPIXEL = 4  # OpenCV draws at coordinates in units of 1/2⁴ pixel


def draw_matches(
    person: np.ndarray,
    garment: np.ndarray,
    kept: Correspondences,
    dropped: Correspondences | None = None,
) -> np.ndarray:
    """Draw photo and garment side by side, with a line for each match: kept matches in colour, dropped ones faint.

    Args:
        person: (height, width, 3) uint8, red first.
        garment: (height, width, 3) uint8, red first, of the same size.
        kept: the kept matches, in any frame; points are mapped to the pictures' size.
        dropped: the dropped matches, in any frame; None: draw none.

    Returns:
        (height, 2·width + GAP, 3) uint8, red first.
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
    """Return ``count`` colours with different hues; neighbours in the list differ clearly."""
    hues = (np.arange(count) * 180 * 0.618034 % 180).astype(np.uint8)  # golden ratio: far from the hues just before
    if count == 0:
        return []
    hsv = np.stack([hues, np.full_like(hues, 255), np.full_like(hues, 255)], axis=1)
    return [tuple(colour) for colour in cv2.cvtColor(hsv[:, None], cv2.COLOR_HSV2RGB)[:, 0].tolist()]


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]], captions: Sequence[Sequence[str]], height: int = 256
) -> np.ndarray:
    """Arrange pictures in rows on white, with a caption above each.

    Args:
        rows: pictures of any size, (height, width, 3) uint8, red first.
        captions: one for each picture, "" for none; characters outside ASCII appear as question marks.
        height: height in pixels that each picture is resized to; its proportions stay.

    Returns:
        (height, width, 3) uint8, red first.
    """
    assert rows, "a sheet needs at least one row"
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
    """Resize a picture and put its caption above it, with a gap to the right and below."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    tile = np.full((CAPTION + height + GAP, width + GAP, 3), 255, np.uint8)
    tile[CAPTION : CAPTION + height, :width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    text = caption.encode("ascii", "replace").decode()
    (text_width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
    size = 0.45 * min(1.0, width / max(1, text_width))  # a long caption is made smaller, not cut
    cv2.putText(tile, text, (0, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def spread_points(known: Correspondences, count: int = POINTS) -> Correspondences:
    """Choose ``count`` points: the one nearest the centre, then each as far as possible from those before it."""
    if len(known) <= count:
        return known
    chosen = [int(np.linalg.norm(known.person - known.person.mean(axis=0), axis=1).argmin())]
    while len(chosen) < count:
        distance = np.linalg.norm(known.person[:, None] - known.person[chosen], axis=2).min(axis=1)
        chosen.append(int(distance.argmax()))
    return Correspondences(known.person[chosen], known.garment[chosen], known.frame)


def draw_attention(
    photo: np.ndarray,
    garment: np.ndarray,
    points: Correspondences,
    maps: np.ndarray,
    height: int = 256,
    true_places: bool = True,
) -> list[np.ndarray]:
    """Draw the photo with numbered points, then for each point the garment with the point's attention map over it.

    Args:
        photo, garment: (H, W, 3) uint8, red first.
        points: the points on the photo, with their places on the garment.
        maps: (points, rows, columns), the attention of each point over the garment.
        height: height of the drawings, pixels.
        true_places: whether the places on the garment are the true ones; they are then circled in green.

    Returns:
        The drawings, (height, width, 3) uint8, red first.
    """
    size = (height, round(height * photo.shape[1] / photo.shape[0]))
    shown = points.resized(size)
    person = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_CUBIC)
    flat = cv2.resize(garment, size[::-1], interpolation=cv2.INTER_CUBIC)
    drawings = [person]
    for number, (place, true, weights) in enumerate(zip(shown.person, shown.garment, maps, strict=True), start=1):
        corner = (int(place[0]), int(place[1]))
        cv2.circle(person, corner, 4, LOOKED_AT, -1, cv2.LINE_AA)
        beside = 6 if corner[0] + 20 < size[1] else -16
        cv2.putText(
            person, str(number), (corner[0] + beside, corner[1] + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.45, LOOKED_AT, 1,
            cv2.LINE_AA,
        )  # fmt: skip
        looked = with_attention(flat, weights)
        if true_places:
            cv2.circle(looked, (int(true[0]), int(true[1])), 7, TRUTH, 2, cv2.LINE_AA)
        drawings.append(looked)
    return drawings


def with_attention(garment: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Colour a pale garment where it is looked at.

    Args:
        garment: (height, width, 3) uint8, red first.
        weights: (rows, columns), not negative; resized to the garment, and the largest gets the full colour.
    """
    heat = cv2.resize(weights / weights.max(), garment.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    pale = 0.5 * garment + 127.5 * 0.5
    return (pale * (1 - heat) + np.array(LOOKED_AT) * heat).clip(0, 255).astype(np.uint8)


def mark_point(picture: np.ndarray, x: int, y: int) -> np.ndarray:
    """Return the picture (height, width, 3) with a ring around the pixel (x, y)."""
    marked, radius = picture.copy(), max(4, len(picture) // 60)
    cv2.circle(marked, (x, y), radius, (255, 255, 255), max(3, radius // 2), cv2.LINE_AA)
    return cv2.circle(marked, (x, y), radius, LOOKED_AT, max(1, radius // 4), cv2.LINE_AA)


def with_mask(picture: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Tint and outline the white region; ``picture`` is (height, width, 3) uint8, ``white`` (height, width) bool."""
    shown = picture.copy()
    tint = np.array(TINT, np.float32)
    shown[white] = (picture[white] * (1 - OPACITY) + tint * OPACITY).astype(np.uint8)
    contours, _ = cv2.findContours(white.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(shown, contours, -1, TINT, max(1, len(picture) // 256))


def with_densepose(picture: np.ndarray, densepose: np.ndarray) -> np.ndarray:
    """Blend DensePose's colours over the photo, both (height, width, 3) uint8; outside the body, the photo is kept."""
    body = densepose_labels(densepose) > 0
    return np.where(body[:, :, None], cv2.addWeighted(picture, 0.5, densepose, 0.5, 0), picture)
