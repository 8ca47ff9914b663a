"""How far two classifications agree."""

from __future__ import annotations

import numpy as np


def adjusted_rand_index(one: np.ndarray, other: np.ndarray) -> float:
    """Return the adjusted Rand index of classes (n,) each: 1 where they agree, 0 by chance.

    Hubert and Arabie, "Comparing partitions" (1985).
    """
    first, second = (np.unique(each, return_inverse=True)[1] for each in (one, other))
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    both, rows, columns = (_pairs(each) for each in (table, table.sum(1), table.sum(0)))
    expected = rows * columns / _pairs(np.array([len(first)]))
    largest = (rows + columns) / 2
    # where both are one class alone they agree
    return 1.0 if largest == expected else float((both - expected) / (largest - expected))


def _pairs(counts: np.ndarray) -> float:
    return float((counts * (counts - 1) / 2).sum())
