"""Which persons of a training list are held out for validation, for data sets without a validation list."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from siftvton.data.pairs import Pair
from siftvton.draws import numpy_generator
from siftvton.errors import UsageError
from siftvton.wording import counted


def held_out_persons(pairs: Sequence[Pair], least: int, seed: int, path: Path) -> set[str]:
    """Return the ids of the persons to validate on.

    Persons are drawn until they have at least ``least`` pairs. At least one person is left for training.

    Args:
        pairs: the training list.
        least: least number of pairs to hold out.
        seed: seed for the draw.
        path: the list, for the message.

    Raises:
        UsageError: no training pair would be left.
    """
    persons = list(dict.fromkeys(pair.person_id for pair in pairs))
    order = numpy_generator(seed, "validation").permutation(len(persons))
    listed = Counter(pair.person_id for pair in pairs)
    counts = np.array([listed[persons[place]] for place in order])
    most = int(counts[:-1].sum())  # at least the last person drawn stays in the training split
    if not 0 <= least <= most:
        raise UsageError(
            f"data.validation_pairs={least} is not allowed, since {path} has {counted(len(pairs), 'pair')}; "
            f"use 0 to {most}"
        )
    if not least:
        return set()
    drawn = np.searchsorted(np.cumsum(counts), least) + 1
    return {persons[place] for place in order[:drawn]}
