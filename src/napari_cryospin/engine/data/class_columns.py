"""The classes of particles as columns of a star file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.original import StarOriginal
from napari_cryospin.engine.data.texts import numbers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import ParticleTable

CLASS = "rlnClassNumber"
"""Class of each particle, from 1."""

_PROBABILITY = re.compile(r"cryospinClass[0-9]+")


def class_columns(
    classes: NDArray[np.integer] | None, weights: NDArray[np.floating] | None = None
) -> dict[str, NDArray[np.generic]]:
    """Return the columns of classes, from 0, (m,), and of their probabilities, (m, C); or none.

    ``cryospinClass1`` and so on hold the probability of each class, where these are known.
    """
    if classes is None:
        return {}
    columns: dict[str, NDArray[np.generic]] = {CLASS: classes.astype(np.int64) + 1}
    for number, column in enumerate([] if weights is None else weights.T, 1):
        columns[f"cryospinClass{number}"] = column.astype(np.float64)
    return columns


def class_numbers(table: ParticleTable) -> NDArray[np.int64] | None:
    """Return the class of each particle, from 1, (n,); None where the table does not tell.

    0 stands for what is no number.
    """
    if not isinstance(table.original, StarOriginal):
        return None
    frame = table.original.blocks[table.original.particles]
    if CLASS not in frame:
        return None
    return np.nan_to_num(numbers_of(frame[CLASS])).astype(np.int64)


def stale_class_columns(columns: Iterable[str]) -> list[str]:
    """Return which columns of a table tell the classes of an earlier run.

    ``rlnClassNumber`` does where probabilities stand beside it: it is another program's otherwise.
    """
    ours = [name for name in columns if _PROBABILITY.fullmatch(name)]
    return [CLASS, *ours] if ours else []
