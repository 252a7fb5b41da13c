"""How long `unet-deploy --help` takes, beside a Python that does nothing.

python benchmarks/startup.py
"""

from __future__ import annotations

import sys

import record

RUNS = 15


def main() -> None:
    bare, ours = [], []
    for _ in range(RUNS + 1):
        bare.append(record.run([sys.executable, "-c", "pass"]).seconds)
        ours.append(record.run(record.unet_deploy("--help")).seconds)
    figures = {"help_seconds": record.Spread.of(ours[1:]), "bare_python_seconds": record.Spread.of(bare[1:])}
    for name, spread in figures.items():
        print(f"{name}: {spread}")
    record.save("startup", figures)


if __name__ == "__main__":
    main()
