"""The map in the particles' own box, as other programs want their reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cryospin.engine.data.density import fit_map
from napari_cryospin.engine.data.resize import working_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import ParticleTable


def full_size(
    volume: NDArray[np.float32],
    table: ParticleTable,
    rows: NDArray[np.int64],
    used: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], float]:
    """Return a map (D, D, D) in the box and with the pixel size of the particles on disk.

    It is padded with zeros in Fourier space, which takes back the crop of the images, and then in
    real space where these were cropped too. Of several optics groups the first with
    particles that are written decides: RELION's reference must fit the first group of the table.

    Parameters
    ----------
    volume
        A map of the working box.
    table
        The particle table.
    rows
        Rows of the working stack, shape (n,).
    used
        Which of them are in what is written, shape (n,).

    Returns
    -------
    volume
        Shape (N, N, N), with N the box of the particles.
    pixel_size
        Å per voxel.
    """
    members = table.optics_index[rows]
    groups = np.unique(members)
    sizes, _ = working_sizes([table.optics[group] for group in groups], volume.shape[0])
    number = members[used].min()
    first, crop = table.optics[number], sizes.crops[int(np.searchsorted(groups, number))]
    # the same extent with smaller pixels, then the same pixels in a larger box
    fine = fit_map(volume, crop / sizes.box, crop, 1)
    return fit_map(fine, 1, first.box, 1), first.pixel_size
