"""The half-set of each particle: two disjoint halves, from which two maps are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def half_sets(given: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the half-set (1 or 2) of all particles that a run is made of.

    It depends on nothing else: it is the same whichever of them are used later, in a run that is
    gone on with, and in what is exported.

    Parameters
    ----------
    given
        The table's own half-sets (``rlnRandomSubset``), by row; None where it has none. They are
        taken where the particles have both.
    rows
        Rows of the particles in the table, (n,). By default those of odd number are one half.
    """
    if given is not None and set(np.unique(given[rows])) == {1, 2}:
        return given[rows]
    return np.asarray(rows % 2 + 1, dtype=np.int64)


def half_sets_of(
    given: NDArray[np.int64] | None, rows: NDArray[np.int64], used: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the half-sets of the used ones among all particles of a run, (n,), bool.

    Where all of these are in one half they alternate: there are two maps all the same, which have
    poses in common.
    """
    found = half_sets(given, rows)[used]
    if len(np.unique(found)) < 2:
        return np.asarray(np.arange(len(found)) % 2 + 1, dtype=np.int64)
    return found
