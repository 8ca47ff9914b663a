"""The Mollweide heatmap of a posterior as a PNG file, drawn without a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing
from napari_cryospin.gui.views.mollweide import index_table

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.posterior.of_particles import ParticlePosterior

_HEIGHT = 600
# decades of probability below the maximum that the heatmap shows
_DECADES = 6.0


def write_heatmap(found: ParticlePosterior, path: Path) -> None:
    """Write the probability of directions as a Mollweide heatmap, log₁₀ over six decades.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from napari.utils.colormaps import ensure_colormap
    from PIL import Image

    probability = found.direction_probability
    log_p = np.log10(np.maximum(probability / probability.max(), 10**-_DECADES))
    # the table's first row is the south, the picture's the north
    pixels = index_table(found.nside, _HEIGHT)[::-1]
    colours = ensure_colormap("magma").map(1 + log_p / _DECADES)[pixels]
    colours[pixels < 0] = 1
    try:
        with replacing(path) as temporary:
            Image.fromarray((255 * colours).astype(np.uint8)).save(temporary, format="PNG")
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror}.") from error
