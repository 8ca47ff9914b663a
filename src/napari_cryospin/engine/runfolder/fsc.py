"""``fsc.csv``: Fourier shell correlations of a run, by frequency."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

FREQUENCY = "frequency_per_angstrom"
# between half-maps that share their poses; of several classes those of the largest one, as below
HALVES = "fsc_halves_shared_poses"
# against the true map, without a mask and with that of the halves: of the class that holds most of
# the true map's particles, where the truth is known
TRUTH, TRUTH_MASKED = "fsc_truth", "fsc_truth_masked"
# between half-maps that are independent but for what they share, where the last column is 1
UNMASKED, MASKED = "fsc_independent_unmasked", "fsc_independent_masked"
RANDOMISED, CORRECTED = "fsc_independent_phase_randomised", "fsc_independent_corrected"
SHARED = "shared_by_halves"


def frequencies(shells: int, pixel_size: float) -> NDArray[np.float64]:
    """Return the frequencies of shells 0, 1, …, of which the last is Nyquist, 1/Å."""
    return np.arange(shells) / (2 * (shells - 1) * pixel_size)


def write_fsc(path: Path, columns: dict[str, NDArray[np.float64]], pixel_size: float) -> None:
    """Write curves against their frequency.

    Parameters
    ----------
    path
        The file.
    columns
        The curves by name, each of shape (D/2 + 1,).
    pixel_size
        Å per pixel of the maps.
    """
    shells = len(next(iter(columns.values())))
    frequency = frequencies(shells, pixel_size)
    table: Iterable[tuple[float, ...]] = zip(frequency, *columns.values(), strict=True)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([FREQUENCY, *columns])
        writer.writerows([f"{value:.6g}" for value in row] for row in table)


def read_fsc(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the columns of ``fsc.csv`` by name, each of shape (k,); none of any other file."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    except (OSError, ValueError, TypeError, IndexError, UnicodeDecodeError):
        return {}
    return columns if FREQUENCY in columns else {}
