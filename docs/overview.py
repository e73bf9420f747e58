"""The picture at the top of README.md, after `make demo`:

python scripts/visualize_reference.py --config configs/toy.yaml data.split=train matches=outputs/demo/matches
python docs/overview.py

It shows the first training pair with matches, attention.jpg of this folder, and the demo's first four results.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).parent
FIGURE, ATTENTION = DOCS.parent / "outputs/figures/reference.png", DOCS / "attention.jpg"
TOY, RESULTS = DOCS.parent / "data/toy/test", DOCS.parent / "outputs/demo/unpaired"
PAIRS = ("00000_00 00004_00", "00001_00 00000_00", "00002_00 00007_00", "00003_00 00010_00")  # person, garment
STEPS = {
    "Photo and garment": "a pair of pictures",
    "SIFT matches": "seven filters",
    "Reference attention": "Eq. 1: where a cell should look",
    "Attention loss": "Eqs. 2, 3: where it does look",
    "Try-on": "diffusion, PLMS sampler",
}
SIZE, LEFT, ARROW = (1600, 940), 24, 34  # pixels
DARK, BLUE, GREY = (30, 34, 40), (46, 94, 170), (110, 116, 124)


def part(path: Path, left: int, top: int, width: int, height: int, shown: int) -> Image.Image:
    """A part of a picture, ``shown`` pixels high."""
    cropped = Image.open(path).convert("RGB").crop((left, top, left + width, top + height))
    return cropped.resize((round(width * shown / height), shown), Image.Resampling.LANCZOS)


def main() -> None:
    canvas = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(canvas)
    large, small = ImageFont.load_default(25), ImageFont.load_default(17)

    def row(pictures: list[Image.Image], left: int, top: int, title: str) -> None:
        draw.text((left, top), title, DARK, large)
        for place, picture in enumerate(pictures):
            canvas.paste(picture, (left + place * (picture.width + 6), top + 38))

    step = (SIZE[0] - 2 * LEFT + ARROW) // len(STEPS)
    for start, (name, under) in zip(range(LEFT, SIZE[0], step), STEPS.items(), strict=False):
        draw.rounded_rectangle((start, 20, start + step - ARROW, 104), 12, outline=BLUE, width=3)
        draw.text((start + (step - ARROW) // 2, 50), name, DARK, large, anchor="mm")
        draw.text((start + (step - ARROW) // 2, 82), under, GREY, small, anchor="mm")
        if start > LEFT:
            draw.line((start - ARROW + 3, 62, start - 10, 62), BLUE, 4)
            draw.polygon([(start - 12, 53), (start - 2, 62), (start - 12, 71)], BLUE)
    row([part(FIGURE, 0, 22, 392, 256, 320)], LEFT, 124, "Matches between a photo and its garment")
    cells = [part(FIGURE, left, 22, 192, 256, 320) for left in (396, 596, 796, 996)]
    row(cells, 560, 124, "Three cells of a photo, and where each should look on the garment")
    for top, of, name in ((508, 22, "without"), (725, 308, "with")):
        seen = [part(ATTENTION, left, of, 192, 256, 170) for left in (0, 200, 400, 600)]
        row(seen, LEFT, top, f"Attention of three points, trained {name} matches")
    for place, (person, garment) in enumerate(map(str.split, PAIRS)):
        paths = (TOY / f"image/{person}.jpg", TOY / f"cloth/{garment}.jpg", RESULTS / f"{person}_{garment}.png")
        tiles = [Image.open(path).resize((128, 170), Image.Resampling.LANCZOS) for path in paths]
        title = "" if place else "Person, garment, result of the toy network"
        row(tiles, 650 + place % 2 * 440, 508 + place // 2 * 217, title)
    canvas.save(DOCS / "overview.jpg", quality=85)


main()
