"""The picture at the top of README.md, after `make demo`: python docs/overview.py

It takes matches.jpg, reference.jpg and attention.jpg from this folder, and the first four test pairs from the demo.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

DOCS = Path(__file__).parent
TOY, RESULTS = DOCS.parent / "data/toy/test", DOCS.parent / "outputs/demo/unpaired"
PAIRS = (("00000", "00004"), ("00001", "00000"), ("00002", "00007"), ("00003", "00010"))  # person, garment
STEPS = {
    "Photo and garment": "a pair of pictures",
    "SIFT matches": "seven filters",
    "Reference attention": "Eq. 1: where a cell should look",
    "Attention loss": "Eqs. 2, 3: where it does look",
    "Try-on": "diffusion, PLMS sampler",
}
SIZE, LEFT, RIGHT, ARROW = (1600, 940), 24, 650, 34  # pixels
DARK, BLUE, GREY = (30, 34, 40), (46, 94, 170), (110, 116, 124)


def part(name: str, box: tuple[int, int, int, int], height: int) -> Image.Image:
    """The box (left, top, right, bottom) of a picture in this folder, at a height in pixels."""
    cropped = Image.open(DOCS / name).crop(box)
    return cropped.resize((round(cropped.width * height / cropped.height), height), Image.Resampling.LANCZOS)


def main() -> None:
    canvas = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(canvas)
    fonts = [ImageFont.load_default(size) for size in (25, 17)]

    def row(pictures: list[Image.Image], left: int, top: int, title: str) -> None:
        draw.text((left, top), title, DARK, fonts[0])
        for place, picture in enumerate(pictures):
            canvas.paste(picture, (left + place * (picture.width + 6), top + 38))

    step = (SIZE[0] - 2 * LEFT + ARROW) // len(STEPS)
    for start, (name, under) in zip(range(LEFT, SIZE[0], step), STEPS.items(), strict=False):
        middle = start + (step - ARROW) // 2
        draw.rounded_rectangle((start, 20, start + step - ARROW, 104), 12, outline=BLUE, width=3)
        draw.text((middle, 50), name, DARK, fonts[0], anchor="mm")
        draw.text((middle, 82), under, GREY, fonts[1], anchor="mm")
        if start > LEFT:
            draw.line((start - ARROW + 3, 62, start - 10, 62), BLUE, 4)
            draw.polygon([(start - 12, 53), (start - 2, 62), (start - 12, 71)], BLUE)
    row([part("matches.jpg", (515, 0, 1019, 333), 320)], LEFT, 124, "Matches between a photo and its garment")
    cells = [part("reference.jpg", (left, 18, left + 153, 222), 320) for left in (317, 477, 637, 797)]
    row(cells, 560, 124, "Three cells of a photo, and where each should look on the garment")
    for top, of, name in ((508, 660, "without"), (725, 875, "with")):
        shown = [part("attention.jpg", (left, of, left + 144, of + 192), 170) for left in (0, 150, 300, 450)]
        row(shown, LEFT, top, f"Attention of three points, trained {name} matches")
    for place, (person, garment) in enumerate(PAIRS):
        result = RESULTS / f"{person}_00_{garment}_00.png"
        pictures = [Image.open(path) for path in (TOY / f"image/{person}_00.jpg", TOY / f"cloth/{garment}_00.jpg", result)]
        tiles = [picture.resize((128, 170), Image.Resampling.LANCZOS) for picture in pictures]
        row(tiles, RIGHT + place % 2 * 440, 508 + place // 2 * 217, "" if place else "Person, garment, result of the toy network")
    canvas.save(DOCS / "overview.jpg", quality=85)


if __name__ == "__main__":
    main()
