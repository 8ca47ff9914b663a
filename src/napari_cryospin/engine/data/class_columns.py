"""The classes of particles as columns of a star file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASS = "rlnClassNumber"
"""Class of each particle, from 1."""


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
