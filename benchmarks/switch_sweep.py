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

import tomli_w
from cases import COMMAND, Case
from machine import description, write_table
from results_file import ResultsFile
from scoring import score

MOLECULES, SEEDS = ("spike", "spliceosome"), range(3)
TOTAL, HEADS = 40, 7
SWITCHES = ("3", "6", "10", "15", "20", "30", "auto")
RECORDED = ResultsFile(
    "switch_sweep",
    ("molecule", "seed", "switch_at"),
    ("switched_after", "median", "mean", "fsc", "seconds"),
)


def run(case: Case, switch_at: str, folder: Path) -> dict[str, object]:
    """Run ``TOTAL`` epochs, switching after some of them, and score the result."""
    encode = chosen(case, folder) if switch_at == "auto" else int(switch_at)
    stages = [encoding(encode), decoding(TOTAL - encode)]
    started = time.monotonic()
    out = reconstruct(case, stages, switch_at, folder)
    seconds = time.monotonic() - started
    found = score(out / "particles.star", out / "map.mrc", case.stack(folder / "stacks"))
    return {
        "switched_after": encode,
        "median": f"{found.median:.3f}",
        "mean": f"{found.mean:.3f}",
        "fsc": f"{found.fsc_fraction:.3f}",
        "seconds": f"{seconds:.0f}",
    }


def chosen(case: Case, folder: Path) -> int:
    """Return the epoch after which the criterion switches.

    It is asked first, so that the run that switches there has as many epochs as all others.
    """
    out = reconstruct(case, [encoding(TOTAL - 10, "criterion")], "criterion", folder)
    with (out / "metrics.csv").open() as file:
        return len(list(csv.DictReader(file)))


def encoding(epochs: int, until: str = "epochs") -> dict[str, object]:
    """Return a stage of auto-encoding."""
    rates = {"learning_rate_encoder": 1e-3, "learning_rate_volume": 2e-2}
    return {"inference": "amortized", "until": until, "epochs": epochs, **rates}


def decoding(epochs: int) -> dict[str, object]:
    """Return a stage of auto-decoding, as in the paper: no search, one hypothesis."""
    rates = {"learning_rate_volume": 1e-2, "final_rate": 0.02}
    return {"inference": "direct", "epochs": epochs, **rates}


def reconstruct(case: Case, stages: list[dict[str, object]], name: str, folder: Path) -> Path:
    """Run stages on a case and return the run folder."""
    stack = case.stack(folder / "stacks")
    out = folder / "runs" / f"switch_{case.name}_{name}"
    shutil.rmtree(out, ignore_errors=True)
    settings = folder / f"switch_{case.name}_{name}.toml"
    model = {"heads": HEADS, "scales": False}
    settings.write_text(tomli_w.dumps({"data": {"box": 32}, "model": model, "stages": stages}))
    words = ["--settings", settings, "--seed", case.seed, "--threads", 1, "--out", out]
    command = [*COMMAND, "reconstruct", stack / "particles.star", *words]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return out


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
        f"as in the paper: {HEADS} heads, no search, one hypothesis; box 32, 3000 particles.",
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
