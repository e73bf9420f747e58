"""Run many cases and count their outcomes by kind."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from robustness.harness import Case, Outcome, attempt
from robustness.world import made_world


def table(counts: Mapping[tuple[str, Outcome], int]) -> str:
    """A Markdown table with a row for each kind, a column for each outcome, and sums."""
    kinds = dict.fromkeys(kind for kind, _ in counts)
    lines = [
        f"| kind | cases tried | {' | '.join(outcome.value for outcome in Outcome)} |",
        f"| --- |{' ---: |' * (len(Outcome) + 1)}",
    ]
    rows = {kind: [counts.get((kind, outcome), 0) for outcome in Outcome] for kind in kinds}
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines += [f"| {kind} | {sum(row)} | {' | '.join(map(str, row))} |" for kind, row in rows.items()]
    return "\n".join(lines)


def tally(cases: Iterable[Case], command: str, prefix: str = "") -> int:
    """Run the cases with ids that begin with ``prefix``; print the failed ones, how to repeat them, and the table.

    Returns:
        The exit code: 1 if a case ended in a traceback or wrong, 2 if no case has this prefix.
    """
    cases = [case for case in cases if case.id.startswith(prefix)]
    if not cases:
        print(f"CASE={prefix}: no case begins with this text", file=sys.stderr)
        return 2
    counts: Counter[tuple[str, Outcome]] = Counter()
    began = time.monotonic()
    with made_world() as world:
        for number, case in enumerate(cases, start=1):
            verdict = attempt(case, world)
            counts[case.kind, verdict.outcome] += 1
            if not verdict.outcome.is_good or len(cases) == 1:
                print(f"{verdict.outcome.value}: {command} CASE='{case.id}': {verdict.why}", flush=True)
            if number % 100 == 0:
                print(f"{number} of {len(cases)} cases, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(counts))
    return int(any(count for (_, outcome), count in counts.items() if not outcome.is_good))
