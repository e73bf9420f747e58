import json

import numpy as np

from siftvton.correspondence import Correspondences
from siftvton.supervision import ReferenceAttention

FRAME = (512, 384)


def test_reference_attention_is_the_published_one_exactly(golden):
    content = json.loads(golden("reference.json").read_text())
    batch = [Correspondences(*np.array(matches, dtype=float).swapaxes(0, 1), FRAME) for matches in content["matches"]]
    reference = ReferenceAttention.from_correspondences(batch)
    assert content["reference"]
    for name, entries in content["reference"].items():
        image, grid = name.split("_")
        height, width = map(int, grid.split("x"))
        sparse = reference.at((height, width), (height, width))
        chosen = sparse.image == int(image)
        columns = (sparse.query[chosen], sparse.key[chosen], sparse.weight[chosen])
        found = sorted(zip(*(column.tolist() for column in columns), strict=True))
        assert found == sorted((i, j, float(np.float32(weight))) for i, j, weight in entries), name
