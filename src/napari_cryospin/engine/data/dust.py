"""Dust: a few wild or missing pixels of an image, replaced by noise as RELION's --white_dust does.

Hot pixels, X-rays and bad detector columns differ from the pixels around them; a particle, a gold
bead and whatever else the microscope has imaged do not. So dust is told by what a median of its
surroundings leaves of it, and what is as wide as that median's window stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import label, median_filter

if TYPE_CHECKING:
    from numpy.typing import NDArray

# side of the surroundings, pixels: lines of two pixels and clusters of three by three are dust
_WINDOW = 5
# what is connected with dust and stands out by this share of the threshold belongs to it
_SKIRT = 0.5
_CONNECTED = np.ones((3, 3))


def replace_dust(
    image: NDArray[np.float32], centre: float, noise: float, threshold: float, seed: int
) -> tuple[NDArray[np.float32], int]:
    """Replace the dust of an image.

    Parameters
    ----------
    image
        Shape (N, N); values that are not finite count as dust.
    centre, noise
        Level of the background and standard deviation of its noise.
    threshold
        How far dust stands out from its surroundings at least, in the image's unit.
    seed
        Seed of the noise that takes the place of dust: the same image is always mended the same.

    Returns
    -------
    image
        A copy in which dust has the level of its surroundings, with noise.
    replaced
        Number of pixels that were replaced.
    """
    missing = ~np.isfinite(image)
    # in double precision the largest numbers of a file can be subtracted
    known = np.where(missing, centre, image).astype(np.float64)
    around = median_filter(known, _WINDOW, mode="mirror")
    dust = missing | _standing_out(np.abs(known - around), threshold)
    replaced = int(dust.sum())
    random = np.random.default_rng(seed).standard_normal(replaced)
    result = known.astype(np.float32)
    result[dust] = around[dust] + noise * random
    return result, replaced


def _standing_out(height: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Return where heights pass a threshold, (N, N), with the skirts of what does."""
    patches, _ = label(height > _SKIRT * threshold, _CONNECTED)
    chosen = np.unique(patches[height > threshold])
    return np.isin(patches, chosen)
