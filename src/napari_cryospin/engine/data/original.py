"""The user's own table as it was read, so that what is not understood goes out as it came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class StarOriginal:
    """The blocks of a STAR file, every value as the text that stands in the file.

    Parameters
    ----------
    blocks
        Blocks by name (without ``data_``), in the order of the file; every column holds texts.
    particles
        Name of the block of the particles; its rows are those of the particle table.
    single
        Names of the blocks that are no loops, but a single row of named values.
    """

    blocks: dict[str, pd.DataFrame]
    particles: str
    single: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CryosparcOriginal:
    """The columns of a cryoSPARC table (and of its passthrough file), with their own types.

    Parameters
    ----------
    fields
        Arrays by field name, one entry per particle, in the order of the particle table.
    """

    fields: dict[str, NDArray[np.generic]]
