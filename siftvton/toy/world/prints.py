"""Prints of garments: functions that paint random content on an RGB canvas.

A canvas has CANVAS_SCALE pixels for each world pixel, in both directions. Positions and lengths are canvas pixels.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from siftvton.toy.world.persons import Colour

CANVAS_SCALE = 2
TALLEST = 1.7  # largest ratio of the vertical to the horizontal stretch of letters
SHIFT = 4  # OpenCV draws at fixed-point coordinates, here with 4 bits of fraction

FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    cv2.FONT_HERSHEY_DUPLEX | cv2.FONT_ITALIC,
    cv2.FONT_HERSHEY_TRIPLEX | cv2.FONT_ITALIC,
)
WORDS = [
    "lemon",
    "ocean",
    "studio",
    "north",
    "coast",
    "bold",
    "wild",
    "summer",
    "club",
    "radio",
    "paris",
    "tokyo",
    "sunset",
    "cactus",
    "tiger",
    "moon",
    "river",
    "forest",
    "rebel",
    "happy",
    "peace",
    "mango",
    "coffee",
    "league",
    "museum",
    "garden",
    "velvet",
    "honey",
    "orbit",
    "polar",
    "hotel",
    "disco",
    "canyon",
    "jungle",
    "echo",
    "nova",
    "amber",
    "cherry",
    "pilot",
    "anchor",
    "lucky",
    "dream",
    "nomad",
    "pixel",
    "breeze",
    "harbor",
    "maple",
    "comet",
    "ivory",
    "salsa",
    "quartz",
    "zebra",
    "fox",
    "whale",
    "1984",
    "77",
    "2001",
    "No.5",
    "NYC",
    "LA",
]

Point = Sequence[float] | np.ndarray
Points = Sequence[Point] | np.ndarray


def fill(canvas: np.ndarray, points: Points, colour: Sequence[int]) -> None:
    """Fill a polygon of (x, y) pixel positions with smooth edges; whole numbers are centres of pixels."""
    fixed = np.round(np.asarray(points, np.float64) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], [int(level) for level in colour], cv2.LINE_AA, SHIFT)


def stroke(canvas: np.ndarray, points: Points, colour: Sequence[int], thickness: int) -> None:
    """Draw a line through (x, y) pixel positions with smooth edges; ``thickness`` in pixels."""
    fixed = np.round(np.asarray(points, np.float64) * (1 << SHIFT)).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, [int(level) for level in colour], thickness, cv2.LINE_AA, SHIFT)


def ellipse(centre: Point, half_axes: Sequence[float], degrees: float = 0.0, count: int = 40) -> np.ndarray:
    """(count, 2) outline of an ellipse; ``degrees`` turns its first axis from x towards y."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    turn = np.radians(degrees)
    x, y = half_axes[0] * np.cos(angle), half_axes[1] * np.sin(angle)
    rotated = np.stack((x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)), -1)
    return rotated + np.asarray(centre)


def paint_words(
    canvas: np.ndarray, words: str, centre: Point, size: Sequence[float], colour: Colour,
    draw: np.random.Generator, degrees: float = 0.0, font: int | None = None,
) -> None:  # fmt: skip
    """Write ``words`` around ``centre`` in a box of at most ``size`` (width, height)."""
    face = FONTS[draw.integers(len(FONTS))] if font is None else font
    weight = int(draw.integers(6, 13))
    (width, height), base = cv2.getTextSize(words, face, 4.0, weight)
    base = base if any(letter in "gjpqyQ" for letter in words) else 0
    stamp = np.zeros((height + base + 24, width + 24), np.uint8)
    cv2.putText(stamp, words, (12, height + 12), face, 4.0, 255, weight, cv2.LINE_AA)
    across, down = size[0] / stamp.shape[1], size[1] / stamp.shape[0]
    across, down = min(across, TALLEST * down), min(down, TALLEST * across)  # letters may be stretched so far
    small = cv2.resize(stamp, None, fx=across, fy=down, interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((small.shape[1] / 2, small.shape[0] / 2), degrees, 1.0)
    turn[:, 2] += np.asarray(centre) - (small.shape[1] / 2, small.shape[0] / 2)
    coverage = cv2.warpAffine(small, turn, (canvas.shape[1], canvas.shape[0]), flags=cv2.INTER_LINEAR)
    _blend(canvas, coverage, colour)


def _blend(canvas: np.ndarray, coverage: np.ndarray, colour: Colour) -> None:
    x, y, width, height = cv2.boundingRect(coverage)
    if not width:
        return
    part = canvas[y : y + height, x : x + width]
    alpha = coverage[y : y + height, x : x + width, None].astype(np.float32) / 255
    part[:] = np.round(part + alpha * (np.array(colour, np.float32) - part))


def paint_text(
    canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], chest: np.ndarray, unit: float
) -> None:
    """Write one to three words across the chest, one in each line.

    Args:
        chest: (2,) the middle of the chest.
        unit: half the shoulders' width.
    """
    lines = int(draw.choice((1, 2, 3), p=(0.5, 0.35, 0.15)))
    height = unit * draw.uniform(0.55, 0.72)
    y = chest[1] - 0.35 * (lines - 1) * height
    font = FONTS[draw.integers(len(FONTS))]
    degrees = float(draw.choice((0.0, 0.0, draw.uniform(-12, 12))))
    for line in range(lines):
        word = str(draw.choice(WORDS))
        word = word.upper() if draw.random() < 0.6 else word.capitalize()
        offset = 0.0 if line == 0 or draw.random() < 0.6 else 0.08 * unit
        box = (1.55 * unit, height)
        paint_words(canvas, word, (chest[0] + offset, y), box, accents[line % 3], draw, degrees, font)
        y += height * 1.05


def paint_logo(
    canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], chest: np.ndarray, unit: float
) -> None:
    """Paint an emblem: in the middle of the chest, often with words below it, or a small one over the heart."""
    emblem = EMBLEMS[draw.integers(len(EMBLEMS))]
    if draw.random() < 0.1:
        emblem(canvas, draw, accents, chest + unit * np.array((0.42, -0.2)), unit * draw.uniform(0.24, 0.32))
        return
    radius = unit * draw.uniform(0.45, 0.7)
    emblem(canvas, draw, accents, chest, radius)
    if draw.random() < 0.5:
        place, box = (chest[0], chest[1] + radius + 0.26 * unit), (1.4 * unit, 0.4 * unit)
        paint_words(canvas, str(draw.choice(WORDS)).upper(), place, box, accents[2], draw)


def _badge(
    canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], at: np.ndarray, radius: float
) -> None:
    fill(canvas, ellipse(at, (radius, radius)), accents[0])
    fill(canvas, ellipse(at, (0.86 * radius, 0.86 * radius)), accents[1])
    fill(canvas, ellipse(at, (0.8 * radius, 0.8 * radius)), accents[0])
    word = str(draw.choice(WORDS)).upper()
    paint_words(canvas, word, at, (1.4 * radius, 0.7 * radius), accents[2], draw, draw.uniform(-12, 12))
    for side in (-1, 1):
        _star(canvas, draw, accents[1:], at + radius * np.array((0, 0.56 * side)), 0.16 * radius)


def _star(
    canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], at: np.ndarray, radius: float
) -> None:
    points = int(draw.integers(5, 9))
    angle = np.arange(2 * points) * np.pi / points - np.pi / 2
    reach = radius * np.where(np.arange(2 * points) % 2, draw.uniform(0.4, 0.6), 1.0)
    fill(canvas, at + np.stack((np.cos(angle), np.sin(angle)), -1) * reach[:, None], accents[0])
    if radius > 20:
        paint_words(canvas, str(draw.integers(10, 99)), at, (0.7 * radius, 0.6 * radius), accents[1], draw)


def _sunset(
    canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], at: np.ndarray, radius: float
) -> None:
    fill(canvas, ellipse(at - radius * np.array((0, 0.25)), (0.6 * radius, 0.6 * radius)), accents[0])
    for layer in range(2):
        x = np.linspace(-1, 1, int(draw.integers(6, 10)))
        peaks = draw.uniform(-0.35, 0.3, x.size) + 0.25 * layer
        ridge = at + radius * np.stack((x, peaks), -1)
        fill(canvas, np.concatenate((ridge, at + radius * np.array(((1, 0.75), (-1, 0.75))))), accents[1 + layer])


def _animal(
    canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], at: np.ndarray, radius: float
) -> None:
    long, wide = draw.uniform(0.3, 0.75), draw.uniform(0.2, 0.34)
    for side in (-1, 1):
        ear = at + radius * np.array((0.5 * side, -0.62))
        fill(canvas, ellipse(ear, (wide * radius, long * radius), side * 20), accents[0])
        fill(canvas, ellipse(ear, (0.55 * wide * radius, 0.6 * long * radius), side * 20), accents[1])
    fill(canvas, ellipse(at, (0.8 * radius, draw.uniform(0.6, 0.85) * radius)), accents[0])
    for side in (-1, 1):
        eye = at + radius * np.array((side * draw.uniform(0.26, 0.36), -0.15))
        fill(canvas, ellipse(eye, (0.15 * radius, 0.18 * radius)), (250, 250, 250))
        fill(canvas, ellipse(eye, (0.08 * radius, 0.1 * radius)), (20, 20, 20))
    fill(canvas, ellipse(at + radius * np.array((0, 0.3)), (0.36 * radius, 0.26 * radius)), accents[1])
    fill(canvas, ellipse(at + radius * np.array((0, 0.18)), (0.12 * radius, 0.08 * radius)), accents[2])
    for side in (-1, 1):
        for lift in (-0.1, 0.05):
            start = at + np.array((side * 0.36, 0.26)) * radius
            stroke(canvas, (start, start + np.array((side * 0.45, lift)) * radius), accents[2], 2)


def _fruit(
    canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], at: np.ndarray, radius: float
) -> None:
    for x, y in ((-0.45, -0.15), (0.45, -0.2), (0.0, 0.3)):
        centre, tilt = at + np.array((x, y)) * radius, draw.uniform(-40, 40)
        _leaf(canvas, centre + np.array((0.4 * x, -0.5)) * radius, 0.4 * radius, tilt + 60, accents[2])
        fill(canvas, ellipse(centre, (0.5 * radius, 0.4 * radius), tilt), accents[0])
        if y > 0:  # cut open
            fill(canvas, ellipse(centre, (0.42 * radius, 0.33 * radius), tilt), accents[1])
            for spoke in range(8):
                end = ellipse(centre, (0.42 * radius, 0.33 * radius), tilt, 8)[spoke]
                stroke(canvas, (centre, end), accents[0], max(1, round(0.03 * radius)))


def _mosaic(
    canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], at: np.ndarray, radius: float
) -> None:
    """An abstract print of discs, bars and triangles on top of each other."""
    for _ in range(int(draw.integers(8, 18))):
        centre = at + draw.uniform(-0.8, 0.8, 2) * radius
        size, sides = draw.uniform(0.12, 0.42) * radius, int(draw.choice((3, 4, 40)))
        slim = draw.uniform(0.3, 1.0)
        fill(canvas, ellipse(centre, (size, slim * size), draw.uniform(0, 180), sides), accents[int(draw.integers(3))])


EMBLEMS = (_badge, _star, _sunset, _animal, _fruit, _mosaic, _mosaic)


def _bands(draw: np.random.Generator, base: Colour, accents: Sequence[Colour], unit: float) -> np.ndarray:
    """(period, 3) colours across one period of a stripe pattern."""
    if draw.random() < 0.5:
        widths, colours = [draw.uniform(0.16, 0.36), draw.uniform(0.12, 0.3)], [base, accents[0]]
    else:
        widths = list(draw.uniform(0.1, 0.3, 6))
        colours = [base, accents[0], base, accents[1], base, accents[2]]
    counts = np.maximum(4, np.round(np.array(widths) * unit)).astype(int)
    return np.repeat(np.array(colours, np.float32), counts, axis=0)


def _across(shape: Sequence[int], degrees: float) -> np.ndarray:
    """(height, width) distance of each pixel along a direction, in whole pixels, never negative.

    Args:
        degrees: angle of the direction from y towards x.
    """
    turn = np.radians(degrees)
    y, x = np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)
    return (np.cos(turn) * y + np.sin(turn) * x + shape[0] + shape[1]).astype(np.int32)


def stripes(
    shape: Sequence[int], draw: np.random.Generator, base: Colour, accents: Sequence[Colour], unit: float
) -> Callable[[float], np.ndarray]:
    """Stripes: a function that takes the angle to turn them by, in degrees, and returns (height, width, 3)."""
    bands = _bands(draw, base, accents, unit).astype(np.uint8)
    degrees = float(draw.choice((0, 90, draw.uniform(20, 70)), p=(0.65, 0.2, 0.15)))
    return lambda turned: bands[_across(shape, degrees + turned) % len(bands)]


def checks(
    shape: Sequence[int], draw: np.random.Generator, base: Colour, accents: Sequence[Colour], unit: float
) -> Callable[[float], np.ndarray]:
    """Two stripe patterns at a right angle, mixed; a function of the angle as in :func:`stripes`."""
    down, across = (_bands(draw, base, accents, unit) for _ in range(2))
    if draw.random() < 0.5:
        across = down
    degrees = float(draw.choice((0, 45), p=(0.85, 0.15)))

    def woven(turned: float) -> np.ndarray:
        first = down[_across(shape, degrees + turned) % len(down)]
        second = across[_across(shape, degrees + turned + 90) % len(across)]
        return ((first + second) / 2).astype(np.uint8)

    return woven


def paint_floral(canvas: np.ndarray, draw: np.random.Generator, accents: Sequence[Colour], unit: float) -> None:
    """Paint flowers and leaves all over the cloth."""
    size = unit * draw.uniform(0.26, 0.42)
    step = size * draw.uniform(1.9, 3.0)
    petals, slim = int(draw.integers(4, 8)), draw.uniform(0.35, 0.7)
    for y in np.arange(0, canvas.shape[0] + step, step):
        for x in np.arange(0, canvas.shape[1] + step, step):
            at = np.array((x, y)) + draw.uniform(-0.4, 0.4, 2) * step
            degrees, radius = draw.uniform(0, 360), size * draw.uniform(0.6, 1.15)
            for leaf in range(int(draw.integers(0, 3))):
                reach = np.radians(degrees + 120 * leaf)
                place = at + 1.1 * radius * np.array((np.cos(reach), np.sin(reach)))
                _leaf(canvas, place, 0.5 * radius, degrees + 120 * leaf, accents[2])
            _flower(canvas, at, radius, degrees, petals, slim, accents[int(draw.random() < 0.25)], accents[2])


def _flower(
    canvas: np.ndarray,
    at: np.ndarray,
    radius: float,
    degrees: float,
    petals: int,
    slim: float,
    colour: Colour,
    heart: Colour,
) -> None:
    for petal in range(petals):
        turn = degrees + 360 * petal / petals
        direction = np.array((np.cos(np.radians(turn)), np.sin(np.radians(turn))))
        fill(canvas, ellipse(at + 0.55 * radius * direction, (0.5 * radius, slim * 0.5 * radius), turn, 16), colour)
    fill(canvas, ellipse(at, (0.24 * radius, 0.24 * radius), count=16), heart)


def _leaf(canvas: np.ndarray, at: np.ndarray, length: float, degrees: float, colour: Colour) -> None:
    fill(canvas, ellipse(at, (length, 0.35 * length), degrees, 16), colour)
