"""Optics groups and micrographs of a simulated stack: each with noise and defocus of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.simulate.streams import Stream, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import ParticleTable

MICROGRAPH = "rlnMicrographName"
# particles of a micrograph, and how far their defocus spreads around its own, Å
_OF_MICROGRAPH, _SPREAD = 100, 150.0
# the variance of the noise doubles from group to group
_STEP = 2.0
# what groups have more of than the first, in its power: noise slower, or faster, than a length, Å
_SLOW, _FAST, _LENGTH = 8.0, 4.0, 60.0


def micrograph_of(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the micrograph of particles (n,), from 0."""
    return rows // _OF_MICROGRAPH


def group_of(rows: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Return the optics group of particles (n,), from 0: micrographs take turns."""
    return micrograph_of(rows) % groups


def in_groups(
    table: ParticleTable, groups: int, defocus_range: tuple[float, float], seed: int
) -> ParticleTable:
    """Return a table with optics groups, whose micrographs have a defocus each."""
    if groups == 1:
        return table
    rows, rng = np.arange(table.n_particles), stream(seed, Stream.MICROGRAPHS)
    of, defocus = micrograph_of(rows), table.defocus
    assert defocus is not None
    present = (defocus.u + defocus.v) / 2
    wanted = rng.uniform(*defocus_range, of.max() + 1)[of] + rng.normal(0, _SPREAD, len(rows))
    moved = (wanted - present).astype(np.float32)
    (one,) = table.optics
    return replace(
        table,
        optics=tuple(replace(one, name=f"{one.name}{number + 1}") for number in range(groups)),
        optics_index=group_of(rows, groups),
        defocus=replace(defocus, u=defocus.u + moved, v=defocus.v + moved),
    )


def micrograph_names(n: int) -> list[str]:
    """Return the names of the micrographs of n particles."""
    return [f"micrograph{number + 1:05d}.mrc" for number in micrograph_of(np.arange(n))]


def deviations(groups: int) -> NDArray[np.float32]:
    """Return the standard deviation of each group's noise, (G,): variances have a mean of 1."""
    variances = _STEP ** np.arange(groups)
    return np.asarray(np.sqrt(variances / variances.mean()), np.float32)


def colour(group: int, k: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return what the power of a group's noise is multiplied with at frequencies ``k``, 1/Å.

    The first has the noise that was asked for, the second more at low frequency, the third more at
    high frequency, and so on in turn.
    """
    falling = 1 / (1 + (_LENGTH * k) ** 2)
    if group % 3 == 1:
        return np.asarray(1 + _SLOW * falling)
    if group % 3 == 2:
        return np.asarray(1 + _FAST * (1 - falling))
    return np.ones_like(k)
