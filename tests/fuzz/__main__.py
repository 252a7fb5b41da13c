"""Try mutants for a while: python -m fuzz --minutes 30, with tests/ on PYTHONPATH. `make fuzz MINUTES=30` does that."""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fuzz.campaign import Campaign, Fault


def main() -> int:
    """Print each fault as it is seen, and counts by kind in the end; returns 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--mutants", type=int, help="so many at most")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--folder", type=Path, default=Path("fuzz-found"))
    asked = parser.parse_args()
    print(f"seed {asked.seed}; mutants that show a fault go to {asked.folder}/faults", flush=True)
    campaign = Campaign(asked.folder.resolve(), asked.seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it in the background ignores it
    last = None if asked.mutants is None else asked.first + asked.mutants
    try:
        with suppress(KeyboardInterrupt):
            campaign.run(_until(time.monotonic() + 60 * asked.minutes, asked.first, last), _tell)
    finally:
        campaign.close()
    for line in table(campaign):
        print(line)
    return 1 if any(each.faults for each in campaign.counts.values()) else 0


def _until(end: float, first: int, last: int | None) -> Iterator[int]:
    numbers = itertools.count(first) if last is None else range(first, last)
    for number in itertools.takewhile(lambda _: time.monotonic() < end, numbers):
        if number > first and (number - first) % 500 == 0:
            print(f"{number - first} mutants", flush=True)
        yield number


def _tell(fault: Fault) -> None:
    print(f"{fault.number} {fault.kind}: {fault.wrong}\n  unet-deploy {fault.command}", flush=True)


def table(campaign: Campaign) -> Iterator[str]:
    """Counts by kind, a line each, and their sum."""
    rows = [(name, each.mutants, each.codes, each.faults) for name, each in campaign.counts.items()]
    sums: dict[int, int] = {}
    for _, _, codes, _ in rows:
        for code, count in codes.items():
            sums[code] = sums.get(code, 0) + count
    rows.append(("all", sum(row[1] for row in rows), sums, sum(row[3] for row in rows)))
    yield "| kind | mutants | exit 0 | other exit codes | faults |"
    yield "|---|---|---|---|---|"
    for name, mutants, codes, faults in rows:
        others = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()) if code)
        yield f"| {name} | {mutants} | {codes.get(0, 0)} | {others} | {faults} |"


if __name__ == "__main__":
    sys.exit(main())
