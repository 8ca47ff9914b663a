"""What the plugin adds to napari's start: its import and its manifest, before the dock is opened.

Run ``python benchmarks/import_time.py``; it writes ``results/import_time.md``.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from machine import description, write_table

PAIRS = 9
WITHOUT = "import npe2"
WITH = (
    "import npe2, sys, napari_cryospin;"
    "npe2.PluginManifest.from_distribution('napari-cryospin');"
    "assert 'torch' not in sys.modules and 'healpy' not in sys.modules"
)


def seconds(code: str) -> float:
    """Return how long a new interpreter takes for some code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Time both in turn, and write their difference."""
    machine = description()
    seconds(WITH)
    pairs = [(seconds(WITHOUT), seconds(WITH)) for _ in range(PAIRS)]
    without, with_plugin = (statistics.median(column) for column in zip(*pairs, strict=True))
    added = statistics.median(b - a for a, b in pairs)
    lines = [
        "| | median (s) |",
        "|---|---:|",
        f"| interpreter and npe2 | {without:.3f} |",
        f"| the same, the plugin and its manifest | {with_plugin:.3f} |",
        f"| added by the plugin (of {PAIRS} pairs) | {added:.3f} |",
        "",
        "The aim is less than 0.3 s; torch and healpy are not imported.",
    ]
    write_table("import_time", "What the plugin adds to napari's start", lines, machine)


if __name__ == "__main__":
    main()
