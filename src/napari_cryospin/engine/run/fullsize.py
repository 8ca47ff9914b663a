"""The map in the particles' own box, as other programs want their reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.data.density import fit_map

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable


def full_size(
    volume: NDArray[np.float32], pixel_size: float, optics: OpticsGroup
) -> NDArray[np.float32]:
    """Return a map (D, D, D) in the box and with the pixel size of images on disk, (N, N, N).

    It is padded with zeros in Fourier space, which takes back the crop of the images, and then in
    real space where these were cropped too.

    Parameters
    ----------
    volume
        A map of the working box.
    pixel_size
        Å per working pixel.
    optics
        The optics group whose box and pixel size are wanted.
    """
    box = volume.shape[0]
    crop = 2 * round(box * pixel_size / optics.pixel_size / 2)
    crop = min(crop, optics.box - optics.box % 2)
    # the same extent with smaller pixels, then the same pixels in a larger box
    fine = fit_map(volume, crop / box, crop, 1)
    return fit_map(fine, 1, optics.box, 1)


def first_group(table: ParticleTable, rows: NDArray[np.int64]) -> OpticsGroup:
    """Return the first optics group with particles among rows (n,): RELION's reference fits it."""
    return table.optics[int(table.optics_index[rows].min())]
