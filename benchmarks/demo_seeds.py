"""`napari-cryospin demo --headless` on ten seeds: pose errors, resolution, whole-process time.

Run it with ``python benchmarks/demo_seeds.py``; it writes ``results/demo_seeds.md``.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path

from cases import COMMAND
from machine import description, write_table

SEEDS = range(10)


def demo(seed: int) -> tuple[dict[str, float], float]:
    """Run the demo and return its evaluation and the seconds from start to map."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "demo"
        started = time.monotonic()
        arguments = ["demo", "--headless", "--seed", str(seed), "--out", str(out)]
        subprocess.run([*COMMAND, *arguments], check=True, capture_output=True)
        seconds = time.monotonic() - started
        truth = ["--truth-star", str(out / "truth.star"), "--truth-map", str(out / "truth.mrc")]
        evaluate = [*COMMAND, "evaluate", str(out / "run"), *truth, "--json"]
        answer = subprocess.run(evaluate, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout), seconds


def main() -> None:
    """Run all seeds and write the table."""
    machine = description()
    lines = [
        "Success: median pose error ≤ 4°, mean ≤ 10°, FSC 0.5 at ≥ 90 % of Nyquist, ≤ 180 s.",
        "",
        "| seed | median error (°) | mean (°) | FSC 0.5 (share of Nyquist) | time (s) | success |",
        "|---:|---:|---:|---:|---:|---|",
    ]
    successes = 0
    for seed in SEEDS:
        found, seconds = demo(seed)
        median, mean = found["median_pose_error_deg"], found["mean_pose_error_deg"]
        fraction = found["fsc_0.5_fraction_of_nyquist"]
        success = median <= 4 and mean <= 10 and fraction >= 0.9 and seconds <= 180
        successes += success
        lines.append(
            f"| {seed} | {median:.2f} | {mean:.2f} | {fraction:.2f} | {seconds:.0f} "
            f"| {'yes' if success else 'no'} |"
        )
        print(lines[-1], flush=True)
    lines += ["", f"{successes} of {len(SEEDS)} succeeded."]
    write_table("demo_seeds", "The demo without a window, seed by seed", lines, machine)


if __name__ == "__main__":
    main()
