"""The automatic switch against fixed ones: paper-style runs, switched after each of several epochs.

``python benchmarks/switch_sweep.py FOLDER`` adds a line to ``results/switch_sweep.csv`` for each
run; what is there is not run again. The stacks and runs go into FOLDER.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from pathlib import Path

from cases import COMMAND, Case
from machine import description, write_table
from results_file import ResultsFile
from scoring import score

MOLECULES, SEEDS = ("spike", "spliceosome"), range(3)
TOTAL = 40
SWITCHES = ("3", "6", "10", "15", "20", "30", "auto")
RECORDED = ResultsFile(
    "switch_sweep",
    ("molecule", "seed", "switch_at"),
    ("switched_after", "epochs", "median", "mean", "fsc", "seconds"),
)


def run(case: Case, switch_at: str, folder: Path) -> dict[str, object]:
    """Run until ``TOTAL`` epochs, switching after some of them, and score the result."""
    stack = case.stack(folder / "stacks")
    out = folder / "runs" / f"switch_{case.name}_{switch_at}"
    shutil.rmtree(out, ignore_errors=True)
    settings = folder / f"switch_{switch_at}.toml"
    encode = 30 if switch_at == "auto" else int(switch_at)
    until = "criterion" if switch_at == "auto" else "epochs"
    settings.write_text(
        f"""
[data]
box = 32
[model]
heads = 7
scales = false
[[stages]]
inference = "amortized"
until = "{until}"
epochs = {encode}
learning_rate_encoder = 1e-3
learning_rate_volume = 2e-2
[[stages]]
inference = "direct"
epochs = {TOTAL - (15 if switch_at == "auto" else encode)}
learning_rate_volume = 1e-2
final_rate = 0.02
"""
    )
    words = ["--settings", settings, "--seed", case.seed, "--out", out]
    words += ["--truth-star", stack / "truth.star", "--truth-map", stack / "truth.mrc"]
    started = time.monotonic()
    command = [*COMMAND, "reconstruct", stack / "particles.star", *words]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    seconds = time.monotonic() - started
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = score(out / "particles.star", out / "map.mrc", stack)
    return {
        "switched_after": sum(row["inference"] == "amortized" for row in rows),
        "epochs": len(rows),
        "median": f"{found.median:.3f}",
        "mean": f"{found.mean:.3f}",
        "fsc": f"{found.fsc_fraction:.3f}",
        "seconds": f"{seconds:.0f}",
    }


def main() -> None:
    """Run what is missing, and write the table."""
    folder = Path(sys.argv[1])
    for molecule in MOLECULES:
        for seed in SEEDS:
            for switch_at in SWITCHES:
                key = (molecule, str(seed), switch_at)
                if not RECORDED.has(key):
                    RECORDED.add(key, run(Case(molecule, seed=seed), switch_at, folder))
    table()


def table() -> None:
    """Write ``results/switch_sweep.md``."""
    rows = RECORDED.rows()
    fixed = [switch for switch in SWITCHES if switch != "auto"]
    lines = [
        f"Final mean pose error (°) of runs of {TOTAL} epochs that switched after so many; *auto*: "
        "by the criterion, with the epoch that it chose. Auto-encoding and auto-decoding alone, "
        "as in the paper: 7 heads, no search, one hypothesis; box 32, 3000 particles.",
        "",
        f"| molecule | seed | {' | '.join(fixed)} | auto (after) | best fixed | auto / best |",
        "|---|--:|" + "--:|" * (len(fixed) + 3),
    ]
    for molecule in MOLECULES:
        for seed in SEEDS:
            mine = {
                row["switch_at"]: row
                for row in rows
                if (row["molecule"], row["seed"]) == (molecule, str(seed))
            }
            if len(mine) < len(SWITCHES):
                continue
            errors = {switch: float(mine[switch]["mean"]) for switch in fixed}
            best, auto = min(errors.values()), float(mine["auto"]["mean"])
            shown = " | ".join(f"{error:.1f}" for error in errors.values())
            lines.append(
                f"| {molecule} | {seed} | {shown} | {auto:.1f} ({mine['auto']['switched_after']}) "
                f"| {best:.1f} | {auto / best:.2f} |"
            )
    write_table(
        "switch_sweep", "When to switch", lines, rows[0]["machine"] if rows else description()
    )


if __name__ == "__main__":
    main()
