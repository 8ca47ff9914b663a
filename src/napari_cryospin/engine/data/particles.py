"""The particles in use: the one way to their images, CTFs and coefficients."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import torch

from napari_cryospin.engine.data.ctf import as_applied, ctf
from napari_cryospin.engine.data.member import OPEN
from napari_cryospin.engine.data.observed import Observed
from napari_cryospin.engine.data.set_aside import SetAside
from napari_cryospin.engine.models.image import ImageModel
from napari_cryospin.engine.models.noise import NoiseSpectrum, mean_power, shells_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.image_store import ImageStore
    from napari_cryospin.engine.data.noise_groups import NoiseFilters
    from napari_cryospin.engine.data.table import ParticleTable

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Particles:
    """The particles in use, as the reconstruction sees them.

    The noise of an image has mean 0 and standard deviation 1, so that each coefficient of its
    unitary transform has unit variance; particles are white; a soft circular mask is applied.

    Training, judging, the explorer, the survey and the results get images through
    :meth:`observed` and :meth:`images` alone, a bounded number at a time, and need not know where
    the images live.

    Parameters
    ----------
    table
        The particle table.
    rows
        Rows of the table in use, shape (n,).
    store
        Where the images live.
    pixel_size
        Å per working pixel.
    ctf_parameters
        Defocus u, v (Å), angle, phase shift (degrees), voltage (kV), Cs (mm) and amplitude
        contrast, shape (n, 7), float32; or None.
    mask_power
        Mean square of the mask: the share of white noise that it leaves in a coefficient.
    notes
        What the user should know of the data, one sentence each.
    ctf_applied
        What was done to each image on account of the CTF (:class:`CtfApplied`), shape (n,), uint8;
        None where nothing was done to any.
    set_aside
        Rows of the table that were to be used, but for their images.
    device
        Where images, coefficients and CTFs come to lie.
    noise_filters
        What coefficients and CTFs are multiplied with, so that images of all optics groups and
        micrographs have the same noise; None where they have it as they are.
    """

    table: ParticleTable
    rows: NDArray[np.int64]
    store: ImageStore
    pixel_size: float
    ctf_parameters: Tensor | None
    mask_power: float
    notes: tuple[str, ...]
    ctf_applied: Tensor | None = None
    set_aside: SetAside = field(default_factory=SetAside.none)
    device: torch.device = _CPU
    noise_filters: NoiseFilters | None = None

    @property
    def n(self) -> int:
        """Number of particles in use."""
        return len(self.rows)

    @property
    def box(self) -> int:
        """Working box D, pixels."""
        return self.store.box

    def to(self, device: torch.device | str, *, images: bool = True) -> Self:
        """Return the particles for work on a device.

        Images in memory move there as well, unless ``images`` says that they stay where they are
        and are moved as they are asked for.
        """
        device = torch.device(device)
        parameters, applied = (
            None if values is None else values.to(device)
            for values in (self.ctf_parameters, self.ctf_applied)
        )
        return replace(
            self,
            store=self.store.to(device) if images else self.store,
            ctf_parameters=parameters,
            ctf_applied=applied,
            device=device,
            noise_filters=self.noise_filters and self.noise_filters.to(device),
        )

    def images(self, rows: Tensor) -> Tensor:
        """Return the images of particles ``rows`` (m,), shape (m, D, D), float32."""
        return self.store.read(rows).to(self.device)

    def image(self, row: int) -> NDArray[np.float32]:
        """Return the image of one particle, (D, D)."""
        found: NDArray[np.float32] = self.store.read(torch.tensor([row]))[0].cpu().numpy()
        return found

    def signatures(self) -> Tensor:
        """Return two numbers by which each image is known again, (n, 2), on the CPU."""
        return self.store.signatures()

    def observed(
        self,
        rows: Tensor,
        model: ImageModel,
        *,
        scales: Tensor | None = None,
        shifts: Tensor | None = None,
        membership: Tensor | None = None,
        by_hand: Tensor | None = None,
        deviation: Tensor | None = None,
        images: Tensor | None = None,
    ) -> Observed:
        """Return what inference sees of particles: all of the same noise.

        Parameters
        ----------
        rows
            Which particles, (m,).
        model
            Image model of the frequencies that are wanted, K of them.
        scales
            What the map is multiplied with to fit each, (m,); 1 by default.
        shifts
            Origin shifts (x, y) that the images are to be centred by, pixels, (m, 2); by default
            they stay as they are.
        membership
            Probability that each shows the particle, (m,); 1 by default.
        by_hand
            What was said of that by hand, (m,) int8; nothing by default.
        deviation
            Standard deviation of the noise at every frequency, (K,): coefficients and CTFs are
            given in units of it.
        images
            :meth:`images` of the particles, where they are at hand already.
        """
        coefficients = self._coefficients(rows, model, images)
        values = self.transfer(rows, model)
        if scales is None:
            scales = torch.ones(len(rows), device=self.device)
        else:
            values = values * scales[:, None]
        if shifts is None:
            shifts = torch.zeros(len(rows), 2, device=self.device)
        elif shifts.any():
            coefficients = model.shift(coefficients, shifts)
        if membership is None:
            membership = torch.ones_like(scales)
        if by_hand is None:
            by_hand = torch.full_like(scales, OPEN, dtype=torch.int8)
        observed = Observed(rows, coefficients, values, scales, shifts, membership, by_hand)
        return observed if deviation is None else observed.over(deviation)

    def noise(self, rows: Tensor) -> NoiseSpectrum:
        """Return what the noise would be if the images of particles (m,) held nothing else."""
        model = ImageModel.within(self.box, self.box / 2, self.device)
        power = mean_power(self._coefficients(rows, model))
        return NoiseSpectrum.of_residuals(power, model, self.mask_power)

    def weights(self, rows: Tensor, model: ImageModel) -> Tensor | None:
        """Return what makes the noise of particles (m,) that of all, (m, K); None: it is."""
        if self.noise_filters is None:
            return None
        return self.noise_filters.at(rows, shells_of(model))

    def transfer(self, rows: Tensor, model: ImageModel) -> Tensor:
        """Return what multiplies a projection in :meth:`observed`, but for the scale, (m, K)."""
        # a CTF is the same at k and −k
        values = self.ctf(rows, model.frequencies[::2]).repeat_interleave(2, 1)
        weights = self.weights(rows, model)
        return values if weights is None else weights * values

    def _coefficients(
        self, rows: Tensor, model: ImageModel, images: Tensor | None = None
    ) -> Tensor:
        found = model.coefficients(self.images(rows) if images is None else images)
        weights = self.weights(rows, model)
        return found if weights is None else weights * found

    def ctf(self, rows: Tensor | None, frequencies: Tensor) -> Tensor:
        """Return the CTF of particles.

        Parameters
        ----------
        rows
            Which particles, shape (m,); None for all.
        frequencies
            Integer frequencies (kx, ky) of the working box, shape (K, 2).

        Returns
        -------
        Tensor
            Shape (m, K), float32; ones where the CTF is not known, |CTF| for images whose phases
            were flipped, and CTF² for those that were multiplied by it.
        """
        if self.ctf_parameters is None:
            m = self.n if rows is None else len(rows)
            return torch.ones(m, len(frequencies), device=frequencies.device)
        parameters = self.ctf_parameters if rows is None else self.ctf_parameters[rows]
        u, v, angle, phase_shift, voltage, cs, amplitude_contrast = parameters.unbind(-1)
        values = ctf(
            frequencies / (self.box * self.pixel_size),
            u=u,
            v=v,
            angle=angle,
            phase_shift=phase_shift,
            voltage=voltage,
            cs=cs,
            amplitude_contrast=amplitude_contrast,
        )
        if self.ctf_applied is None:
            return values
        applied = self.ctf_applied if rows is None else self.ctf_applied[rows]
        return as_applied(values, applied)
