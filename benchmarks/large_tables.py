"""Particle tables of a million rows: processor time and memory of reading and of writing them.

``python benchmarks/large_tables.py FOLDER [--other CHECKOUT]`` makes the tables in FOLDER and
measures each step in a process of its own that does nothing else, with these sources and, in turn,
with those of another checkout. It writes ``results/large_tables.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from machine import description, write_table

if TYPE_CHECKING:
    from collections.abc import Callable

OWN = Path(__file__).parents[1]
PART, PER_MICROGRAPH = 20_000, 400
OPTICS = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographOriginalPixelSize #3
_rlnVoltage #4
_rlnSphericalAberration #5
_rlnAmplitudeContrast #6
_rlnImagePixelSize #7
_rlnImageSize #8
_rlnImageDimensionality #9
opticsGroup1            1     0.885000   300.000000     2.700000     0.100000     1.770000  256  2
opticsGroup2            2     0.885000   300.000000     2.700000     0.100000     1.770000  256  2

"""
# the columns of a refinement, as RELION writes their values: a range, and decimals
VALUES: dict[str, tuple[float, float, int]] = {
    "rlnCoordinateX": (100, 4000, 3),
    "rlnCoordinateY": (100, 4000, 3),
    "rlnDefocusU": (10_000, 25_000, 3),
    "rlnDefocusV": (10_000, 25_000, 3),
    "rlnDefocusAngle": (0, 90, 5),
    "rlnCtfMaxResolution": (3, 6, 5),
    "rlnAngleRot": (-180, 180, 5),
    "rlnAngleTilt": (0, 180, 5),
    "rlnAnglePsi": (-180, 180, 5),
    "rlnOriginXAngst": (-9, 9, 5),
    "rlnOriginYAngst": (-9, 9, 5),
    "rlnNormCorrection": (0.6, 1.2, 5),
    "rlnMaxValueProbDistribution": (0, 1, 5),
    "rlnOpticsGroup": (1, 2, 0),
    "rlnClassNumber": (1, 4, 0),
    "rlnRandomSubset": (1, 2, 0),
}
# RELION 5 writes more of them, every number twelve signs wide
MORE: dict[str, tuple[float, float, int]] = {
    "rlnAutopickFigureOfMerit": (8, 60, 6),
    "rlnCtfFigureOfMerit": (0, 0.2, 6),
    "rlnPhaseShift": (0, 0, 6),
    "rlnGroupNumber": (1, 99, 0),
    "rlnLogLikeliContribution": (8e5, 9e5, 6),
    "rlnNrOfSignificantSamples": (1, 99, 0),
}


def compact(path: Path, rows: int) -> None:
    """Write a table of 18 columns, a single blank between values: 179 MB for a million rows."""
    _write(
        path,
        rows,
        VALUES,
        "{number}@Extract/job025/{micrograph}s mics/{micrograph}",
        " %.{decimals}f",
    )


def padded(path: Path, rows: int) -> None:
    """Write a table of 24 columns, with long names, padded as by RELION 5."""
    hole = "Data/FoilHole_353510_{micrograph}"
    names = "{number}@Polish/job520/" + hole + "s MotionCorr/job003/" + hole
    _write(path, rows, VALUES | MORE, names, " %12.{decimals}f")


def _write(
    path: Path, rows: int, values: dict[str, tuple[float, float, int]], names: str, form: str
) -> None:
    rng = np.random.default_rng(0)
    columns = ["rlnImageName", "rlnMicrographName", *values]
    line = names + "".join(form.format(decimals=decimals) for *_, decimals in values.values())
    with path.open("w", encoding="ascii") as file:
        file.write(OPTICS + "# version 30001\n\ndata_particles\n\nloop_\n")
        file.writelines(f"_{name} #{i}\n" for i, name in enumerate(columns, start=1))
        for start in range(0, rows, PART):
            drawn = [
                rng.integers(low, high + 1, PART) if not decimals else rng.uniform(low, high, PART)
                for low, high, decimals in values.values()
            ]
            for row, of_row in enumerate(zip(*drawn, strict=True), start=start):
                micrograph = f"mic_{row // PER_MICROGRAPH:05d}.mrc"
                number = f"{row % PER_MICROGRAPH + 1:06d}"
                text = line.replace("{number}", number).replace("{micrograph}", micrograph)
                file.write(text % of_row + " \n")
        file.write("\n")


TABLES: dict[str, Callable[[Path, int], None]] = {"compact": compact, "padded": padded}

READ = "table = read_star(Path(sys.argv[1]))"
STEPS = {
    "importing only": "",
    "reading": READ,
    "reading, then writing all rows": (
        f"{READ}; before = cpu(); write_star(Path(sys.argv[2]), table, "
        "np.arange(table.n_particles), rotations=table.rotations, shifts=table.shifts)"
    ),
}
CODE = """
import json, resource, sys
from pathlib import Path
import numpy as np
from napari_cryospin.engine.data.star import read_star, write_star

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

before = 0.0
{step}
seconds = cpu() - before
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
status = Path("/proc/self/status")
if status.exists():
    # of this program alone: the other figure knows of the one that started it
    peak = next(int(x.split()[1]) for x in status.read_text().splitlines() if "VmHWM" in x) * 1024
print(json.dumps([seconds, peak, "torch" in sys.modules]))
"""


def measured(step: str, table: Path, checkout: Path) -> tuple[float, float, bool]:
    """Return seconds of processor time, the peak of resident MB, and whether torch was there."""
    environment = os.environ | {
        "PYTHONPATH": str(checkout / "src"),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    written = table.with_suffix(".written.star")
    command = [sys.executable, "-c", CODE.replace("{step}", step), str(table), str(written)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    written.unlink(missing_ok=True)
    seconds, peak, torch = json.loads(done.stdout)
    return seconds, peak / 1e6, torch


def main() -> None:
    """Make the tables, measure every step, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the tables")
    parser.add_argument("--other", type=Path, help="a checkout of another version")
    parser.add_argument("--rows", type=int, default=1_000_000, help="a multiple of 20,000")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    machine = description()
    checkouts = {"this": OWN} | ({"other": arguments.other} if arguments.other else {})
    lines = [
        "| table | step | version | processor time (s) | peak of resident memory (MB) | torch |",
        "|---|---|---|---:|---:|---|",
    ]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.tables:
        path = arguments.folder / f"{name}-{arguments.rows}.star"
        if not path.exists():
            TABLES[name](path, arguments.rows)
        size = f"{name}, {arguments.rows:,} rows, {path.stat().st_size / 1e6:.0f} MB"
        for step, code in STEPS.items():
            for which, checkout in checkouts.items():
                seconds, peak, torch = measured(code, path, checkout)
                imported = "imported" if torch else "–"
                lines.append(
                    f"| {size} | {step} | {which} | {seconds:.1f} | {peak:.0f} | {imported} |"
                )
                print(lines[-1], flush=True)
    lines += [
        "",
        "Each line is a fresh process: its processor time (user and system) from its start, all "
        "imports included, but for writing only what the writing took; its peak is that of the "
        "whole process. The image files are not there. Aim: the compact table is read within 5 s "
        "and 800 MB.",
    ]
    write_table("large_tables", "Particle tables of a million rows", lines, machine)


if __name__ == "__main__":
    main()
