"""Run the generated cases and print their outcomes: ``make fuzz``, or ``make fuzz CASE=pictures``.

``CASE`` is the id of a case, or the beginning of ids. The exit code is 1 if a case ended in a traceback or wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain

from robustness.harness import Case
from robustness.kinds import (
    keys,
    networks,
    odd_files,
    pair_lists,
    part_configs,
    pictures,
    published,
    records,
    run_folders,
    side_pictures,
    values_in_use,
    weights,
    yaml_files,
)
from robustness.tally import tally

KINDS = (
    pictures,
    side_pictures,
    pair_lists,
    keys,
    yaml_files,
    values_in_use,
    part_configs,
    weights,
    published,
    networks,
    run_folders,
    records,
    odd_files,
)


def all_cases() -> Iterator[Case]:
    return chain.from_iterable(kind.cases() for kind in KINDS)


def sample(cases: Sequence[Case], share: int) -> list[Case]:
    """One in ``share`` of each kind's cases, spread evenly, and at least one."""
    by_kind: dict[str, list[Case]] = {}
    for case in cases:
        by_kind.setdefault(case.kind, []).append(case)
    return [case for of_kind in by_kind.values() for case in of_kind[min(share, len(of_kind)) // 2 :: share]]


if __name__ == "__main__":
    sys.exit(tally(all_cases(), "make fuzz", *sys.argv[1:]))
