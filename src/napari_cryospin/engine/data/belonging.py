"""Which particles of a table belong to a map, where the table says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.class_columns import CLASS
from napari_cryospin.engine.data.member import MEMBER
from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.texts import numbers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import ParticleTable

MEMBERSHIP = "cryospinMembership"


def belonging(table: ParticleTable, class_number: int = 1) -> NDArray[np.bool_]:
    """Return which particles belong to a class, shape (n,).

    Those do whose ``cryospinMembership`` is at least 0.5 and whose ``rlnClassNumber`` is that of
    the class. A table that has no ``cryospinMembership`` says nothing: all of them do then, for
    classes of other programs are not those of a true map.

    Parameters
    ----------
    table
        As :func:`~napari_cryospin.engine.data.star.read_star` returns it.
    class_number
        Number of the class, from 1.
    """
    everyone = np.ones(table.n_particles, dtype=bool)
    if not isinstance(table.original, StarOriginal):
        return everyone
    frame = table.original.blocks[table.original.particles]
    if MEMBERSHIP not in frame:
        return everyone
    member = numbers_of(frame[MEMBERSHIP]) >= MEMBER
    if CLASS in frame:
        member &= numbers_of(frame[CLASS]) == class_number
    return member
