"""The losses of a run as a picture: python docs/learning_curve.py [metrics.jsonl picture.png]

Without arguments, it draws learning_curve.jsonl of this folder into learning_curve.png. Dots are single updates, lines
are running means.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).parent
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 620, 330, 70, 20, 40, 54  # of a panel and its margins, pixels
SCALE = 2  # drawn larger, then made smaller, for smooth lines
DARK, GREY, GUIDE = (30, 34, 40), (110, 116, 124), (225, 228, 232)
COLOURS = ((46, 94, 170), (200, 90, 30), (60, 140, 80))
SMOOTHED = 0.03  # share of the points that a running mean covers


def panel(title: str, updates: np.ndarray, curves: dict[str, np.ndarray], logarithmic: bool) -> Image.Image:
    """Draw curves over the updates, from 0, or on a logarithmic axis.

    Args:
        updates: (points,).
        curves: the name of each curve and its values, (points,).
    """
    canvas = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), "white")
    draw = ImageDraw.Draw(canvas)
    text = ImageFont.load_default(15 * SCALE)
    highest = max(map(np.max, curves.values()))
    if logarithmic:
        low, high = np.floor(np.log10(min(map(np.min, curves.values())))), np.ceil(np.log10(highest))
        ticks = {
            10.0**power * step: f"{10.0**power * step:g}" for power in range(int(low), int(high)) for step in (1, 3)
        }
    else:
        low, high, step = 0.0, 1.05 * highest, 10.0 ** np.floor(np.log10(highest))
        ticks = {value: f"{value:.2g}" for value in np.arange(0, high, step)}

    def x(update: float) -> float:
        return SCALE * (LEFT + (WIDTH - LEFT - RIGHT) * update / updates[-1])

    def y(value: float) -> float:
        place = np.log10(value) if logarithmic else value
        return SCALE * (HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (place - low) / (high - low))

    draw.text((SCALE * LEFT, SCALE * 10), title, DARK, text)
    for value, name in ticks.items():
        draw.line((x(0), y(value), x(updates[-1]), y(value)), GUIDE, SCALE)
        draw.text((SCALE * (LEFT - 8), y(value)), name, GREY, text, anchor="rm")
    for update in np.linspace(0, updates[-1], 5):
        draw.text((x(update), SCALE * (HEIGHT - BOTTOM + 8)), f"{update:.0f}", GREY, text, anchor="ma")
    draw.text((x(updates[-1] / 2), SCALE * (HEIGHT - 14)), "updates", GREY, text, anchor="mm")
    half = max(1, round(SMOOTHED * len(updates) / 2))
    for place, ((name, values), colour) in enumerate(zip(curves.items(), COLOURS, strict=False)):
        pale = tuple((value + 2 * 255) // 3 for value in colour)
        for update, value in zip(updates, values, strict=True):
            draw.circle((x(update), y(value)), 1.5 * SCALE, pale)
        means = [values[max(0, point - half) : point + half + 1].mean() for point in range(len(values))]
        draw.line([(x(update), y(mean)) for update, mean in zip(updates, means, strict=True)], colour, 2 * SCALE)
        draw.text((SCALE * (WIDTH - RIGHT), SCALE * (TOP + 4 + 20 * place)), name, colour, text, anchor="ra")
    return canvas.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def main(log: Path, picture: Path) -> None:
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    columns = {name: np.array([entry[name] for entry in entries], float) for name in entries[0]}
    strides = {f"stride {name[12:]}": values for name, values in columns.items() if name.startswith("sift_stride_")}
    panels = [panel("noise: error of the prediction", columns["update"], {"": columns["noise"]}, logarithmic=False)]
    if columns["sift"].min() > 0:
        panels.append(
            panel("sift: attention loss by stride of the layer", columns["update"], strides, logarithmic=True)
        )
    sheet = Image.new("RGB", (WIDTH * len(panels), HEIGHT), "white")
    for place, each in enumerate(panels):
        sheet.paste(each, (WIDTH * place, 0))
    sheet.quantize(64).save(picture, optimize=True)


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(*given or (DOCS / "learning_curve.jsonl", DOCS / "learning_curve.png"))
