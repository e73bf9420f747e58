"""What a try-on would score by chance in the toy world: the person in a random garment of the same category.

python benchmarks/toy_chance.py data/toy_dresscode 60      the first 60 unpaired test pairs, in about 15 seconds

For each category it prints how often the mean colour of the random garment is right, as `scripts/evaluate_toy.py`
counts it. A random print is closest to the right one in 1 of n cases, if it is compared with the right one and n - 1
others. It writes no files.
"""

import numpy as np
from arguments import count, parser_of, start
from tqdm import tqdm

from siftvton.data.layouts import layout_of
from siftvton.draws import numpy_generator
from siftvton.evaluation.intervals import wilson
from siftvton.tables import markdown_table
from siftvton.toy.measures import RIGHT_COLOUR, colour_distance
from siftvton.toy.worlds import number_of, world_of


def main(root: str, limit: int) -> None:
    split = layout_of("auto", root).split("test")
    world = world_of(split)
    pairs = split.pairs("unpaired")[:limit]
    distances: dict[str, list[float]] = {}
    for pair in tqdm(pairs, unit="pair"):
        person, own = number_of(pair.person_id), number_of(pair.garment_id)
        same = {number_of(each.garment_id) for each in pairs} - {own}
        others = sorted(number for number in same if world.category(number) == world.category(own))
        other = int(numpy_generator("chance", pair.result_id).choice(others))
        truth, shown = (world.rendering(person, world.garment(number)) for number in (own, other))
        distance = colour_distance(shown.photo, truth.photo, truth.worn_mask)
        if distance is not None:
            distances.setdefault(world.category(own), []).append(distance)
    rows = []
    for category, found in distances.items():
        right = sum(distance <= RIGHT_COLOUR for distance in found)
        low, high = wilson(right, len(found))
        share = [f"{right / len(found):.0%}", f"{low:.0%} to {high:.0%}"]
        rows.append([category, str(len(found)), *share, f"{np.mean(found):.1f}"])
    print(*markdown_table(["category", "pairs", "right colour", "95 % interval", "mean distance"], rows), sep="\n")


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("root", help="folder of the toy world")
    parser.add_argument("limit", type=count, help="number of test pairs")
    start(main, parser)
