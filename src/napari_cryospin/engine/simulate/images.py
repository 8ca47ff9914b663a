"""Clean images of molecules: projections through the microscope's true CTF."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.ctf import ctf
from napari_cryospin.engine.geometry.projection import Projector
from napari_cryospin.engine.models.image import ImageModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.simulate.scene import Copies


@dataclass(frozen=True)
class Transfer:
    """What the microscope does to projections: CTF and envelope.

    Parameters
    ----------
    table
        The true defocus, and the true lens.
    envelope
        B-factor, Å².
    """

    table: ParticleTable
    envelope: float = 0.0

    def at(self, rows: NDArray[np.int64], frequencies: Tensor) -> Tensor:
        """Return the transfer function at frequencies (K, 2) in 1/Å, shape (n, K)."""
        defocus, optics = self.table.defocus, self.table.optics[0]
        assert defocus is not None and optics.voltage is not None
        assert optics.spherical_aberration is not None and optics.amplitude_contrast is not None
        columns = {
            name: torch.from_numpy(getattr(defocus, name)[rows])
            for name in ("u", "v", "angle", "phase_shift")
        }
        constants = {
            "voltage": optics.voltage,
            "cs": optics.spherical_aberration,
            "amplitude_contrast": optics.amplitude_contrast,
        }
        columns |= {name: torch.full((len(rows),), value) for name, value in constants.items()}
        values = ctf(frequencies, **columns)
        if self.envelope:
            values = values * torch.exp(-self.envelope / 4 * frequencies.square().sum(-1))
        return values

    def through(
        self,
        rows: NDArray[np.int64],
        density: Tensor,
        places: NDArray[np.float64] | None = None,
    ) -> Tensor:
        """Return what is seen of projected density, shape (n, D, D), of canvases (n, 2D, 2D).

        The canvas is twice as wide as the image, so that what is moved beyond the image's rim, or
        spread by the CTF, does not come back on the other side. ``places`` (n, 2) moves the content
        by (x, y) pixels.
        """
        side = density.shape[-1]
        ky = torch.fft.fftfreq(side)
        kx = torch.fft.rfftfreq(side)
        grid = torch.stack(torch.meshgrid(ky, kx, indexing="ij")[::-1], -1)
        spectrum = torch.fft.rfft2(density)
        values = self.at(rows, grid.reshape(-1, 2) / self.table.pixel_size)
        spectrum *= values.reshape(len(rows), side, -1)
        if places is not None:
            phase = -2 * math.pi * (torch.from_numpy(places).float() @ grid.reshape(-1, 2).T)
            spectrum *= torch.polar(torch.ones_like(phase), phase).reshape(spectrum.shape)
        seen: Tensor = torch.fft.irfft2(spectrum, s=(side, side))
        return seen[..., side // 4 : side // 4 + side // 2, side // 4 : side // 4 + side // 2]


class CleanImages:
    """Images of one molecule, without noise.

    Parameters
    ----------
    volume
        Its map, (D, D, D).
    transfer
        The microscope.
    """

    def __init__(self, volume: NDArray[np.float32], transfer: Transfer) -> None:
        self.transfer, self.table = transfer, transfer.table
        self.box = volume.shape[0]
        self.model = ImageModel.within(self.box, self.box / 2)
        self.projector = Projector(torch.from_numpy(volume))

    def images(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the images of particles in their true poses, shape (n, D, D)."""
        table, model = self.table, self.model
        assert table.rotations is not None and table.shifts is not None
        rotations = torch.from_numpy(table.rotations[rows]).float()
        slices = self.projector.slices(rotations, model.frequencies)
        # the content of an image lies at minus its origin shift
        shifts = torch.from_numpy(-table.shifts[rows] / table.pixel_size).float()
        moved = model.shift(slices, shifts)
        seen = self.transfer.at(rows, model.frequencies / (self.box * table.pixel_size))
        clean: NDArray[np.float32] = model.images(seen * moved).numpy()
        return clean

    def copies(self, copies: Copies, part: slice) -> NDArray[np.float32]:
        """Return images of some of the copies, each alone in its image, shape (m, D, D)."""
        rotations = torch.from_numpy(copies.rotations[part]).float()
        flat = self.model.images(self.projector.slices(rotations, self.model.frequencies))
        # the frequencies in use leave out the mean: what surrounds a molecule is 0
        border = self._border
        flat = flat - flat[:, border].mean(-1)[:, None, None]
        quarter = self.box // 2
        canvas = torch.nn.functional.pad(flat * self._window, (quarter,) * 4)
        seen: NDArray[np.float32] = self.transfer.through(
            copies.rows[part], canvas, copies.places[part]
        ).numpy()
        return seen

    @property
    def _border(self) -> Tensor:
        border: Tensor = self._radii >= self.box / 2 - 1
        return border

    @property
    def _window(self) -> Tensor:
        """Return what falls to 0 towards the rim, (D, D)."""
        soft = max(2.0, self.box / 16)
        window: Tensor = ((self.box / 2 - self._radii) / soft).clamp(0, 1)
        return window

    @property
    def _radii(self) -> Tensor:
        line = torch.arange(self.box) - self.box // 2
        radii: Tensor = torch.hypot(line[:, None].float(), line.float())
        return radii
