"""From raw particles to the working stack: small, normalised, white, softly masked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from napari_cryospin.engine.data.bad_images import Inspection, sample
from napari_cryospin.engine.data.ctf import as_applied, ctf
from napari_cryospin.engine.data.normalise import background, normalise, soft_mask
from napari_cryospin.engine.data.resize import fourier_crop, real_crop, working_sizes
from napari_cryospin.engine.data.set_aside import SetAside
from napari_cryospin.engine.data.stack import StackReader
from napari_cryospin.engine.data.usual import Usual
from napari_cryospin.engine.models.noise import mean_power

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.settings import DataSettings

# raw images in memory at a time
_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class WorkingStack:
    """The particles in use, as the reconstruction sees them.

    The noise of an image has mean 0 and standard deviation 1, so that each coefficient of its
    unitary transform has unit variance; particles are white; a soft circular mask is applied.

    Parameters
    ----------
    table
        The particle table.
    rows
        Rows of the table in use, shape (n,).
    images
        Shape (n, D, D), float32.
    box
        Working box D, pixels.
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
    """

    table: ParticleTable
    rows: NDArray[np.int64]
    images: Tensor
    box: int
    pixel_size: float
    ctf_parameters: Tensor | None
    mask_power: float
    notes: tuple[str, ...]
    ctf_applied: Tensor | None = None
    set_aside: SetAside = field(default_factory=SetAside.none)

    @property
    def n(self) -> int:
        """Number of particles in use."""
        return len(self.rows)

    def to(self, device: torch.device | str) -> Self:
        """Return the stack with images and CTF parameters on a device."""
        parameters, applied = (
            None if values is None else values.to(device)
            for values in (self.ctf_parameters, self.ctf_applied)
        )
        images = self.images.to(device)
        return replace(self, images=images, ctf_parameters=parameters, ctf_applied=applied)

    def ctf(self, indices: Tensor | None, frequencies: Tensor) -> Tensor:
        """Return the CTF of particles.

        Parameters
        ----------
        indices
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
            m = self.n if indices is None else len(indices)
            return torch.ones(m, len(frequencies), device=frequencies.device)
        parameters = self.ctf_parameters if indices is None else self.ctf_parameters[indices]
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
        applied = self.ctf_applied if indices is None else self.ctf_applied[indices]
        return as_applied(values, applied)


def prepare(
    table: ParticleTable,
    settings: DataSettings,
    progress: Callable[[int, int], None] | None = None,
) -> WorkingStack:
    """Read particles and make the working stack of them, a bounded number at a time.

    Every image is normalised by its own background at full size, as RELION does; one factor for
    each optics group then gives the noise that is left after the Fourier crop unit variance. (A
    small image has too few pixels outside the mask to measure its own deviation well.)

    Dust is replaced, and particles whose images cannot be used are set aside
    (:mod:`~.bad_images`).

    Parameters
    ----------
    table
        The particle table.
    settings
        Working box, contrast, mask and number of particles.
    progress
        Called with the number of images done and their total.

    Raises
    ------
    InputError
        If images are missing or damaged, or next to none of them can be used.
    """
    reader = StackReader(table)
    # what is written of the table later tells the contrast that was used
    table = with_contrast(table, settings)
    rows = np.arange(table.n_particles)[: settings.max_particles]
    groups = np.unique(table.optics_index[rows])
    sizes, notes = working_sizes([table.optics[group] for group in groups], settings.box)
    notes[:0] = table.notes
    diameter = settings.mask_diameter or sizes.box * sizes.pixel_size
    images = torch.empty(len(rows), sizes.box, sizes.box)
    noisy = torch.empty(len(rows), dtype=torch.bool)
    members = table.optics_index[rows]
    inspection = Inspection(table, rows)
    done = 0
    for group, crop in zip(groups, sizes.crops, strict=True):
        optics = table.optics[group]
        across = diameter / optics.pixel_size
        chunks = _chunks(np.flatnonzero(members == group), optics.box)
        some = sample(np.flatnonzero(members == group), len(chunks[0]))
        usual = Usual.of(torch.from_numpy(reader.read(rows[some])), across)
        for chunk in chunks:
            raw = torch.from_numpy(reader.read(rows[chunk]))
            part, raw = inspection.mend(chunk, raw, usual, across)
            if len(part):
                normalised, noisy[part], scale = normalise(raw, across)
                small = fourier_crop(real_crop(normalised, crop), sizes.box)
                inspection.measure(part, small, scale)
                images[part] = small
            done += len(chunk)
            if progress:
                progress(done, len(rows))
    inspection.set_beads_aside(members)
    kept = inspection.kept()
    images, noisy, members, rows = _pick(images, kept), noisy[kept], members[kept], rows[kept]
    if not noisy.all():
        notes.append(
            f"{int((~noisy).sum())} images have no noise in the background: they are scaled by "
            "their own standard deviation."
        )
    scales = _scales(images, noisy, members, diameter / sizes.pixel_size)
    if not table.particles_are_white:
        notes.append(
            "Particles are dark on disk: the images are inverted for the map, and written tables "
            "say so; export --invert writes the inverted images."
        )
        scales = -scales
    images *= scales[:, None, None]
    mask = soft_mask(sizes.box, diameter / sizes.pixel_size)
    images *= mask
    return WorkingStack(
        table,
        rows,
        images,
        sizes.box,
        sizes.pixel_size,
        _ctf_parameters(table, rows),
        float(mask.square().mean()),
        tuple(dict.fromkeys((*notes, *inspection.notes()))),
        _ctf_applied(table, rows),
        inspection.set_aside(),
    )


def _pick(images: Tensor, kept: NDArray[np.int64], size: int = 4096) -> Tensor:
    """Return images at ascending places, (k, D, D), moved to the front without another copy."""
    if len(kept) < len(images):
        for start in range(0, len(kept), size):
            some = kept[start : start + size]
            images[start : start + len(some)] = images[some]
    return images[: len(kept)]


def _chunks(members: NDArray[np.int64], box: int) -> list[NDArray[np.int64]]:
    size = max(1, _CHUNK_BYTES // (4 * box**2))
    return [members[start : start + size] for start in range(0, len(members), size)]


def _scales(images: Tensor, noisy: Tensor, members: NDArray[np.int64], diameter: float) -> Tensor:
    """Return factors, (n,), that give the noise of each optics group unit variance."""
    pixels = images[:, background(images.shape[-1], diameter)]
    scales = torch.ones(len(images))
    for group in np.unique(members):
        in_group = torch.from_numpy(members == group)
        if (in_group & noisy).any():
            scales[in_group] = mean_power(pixels[in_group & noisy]).mean().rsqrt()
    return scales


def with_contrast(table: ParticleTable, settings: DataSettings) -> ParticleTable:
    """Return a table with the contrast of its images: as it says itself, or as the user does."""
    if settings.contrast == "as table":
        return table
    return replace(table, particles_are_white=settings.contrast == "white")


def _ctf_parameters(table: ParticleTable, rows: NDArray[np.int64]) -> Tensor | None:
    if table.defocus is None:
        return None
    defocus = table.defocus
    lens = np.array(
        [(g.voltage, g.spherical_aberration, g.amplitude_contrast) for g in table.optics],
        dtype=np.float32,
    )[table.optics_index]
    columns = (defocus.u, defocus.v, defocus.angle, defocus.phase_shift)
    return torch.from_numpy(np.column_stack((*columns, lens))[rows].astype(np.float32))


def _ctf_applied(table: ParticleTable, rows: NDArray[np.int64]) -> Tensor | None:
    applied = np.array([group.ctf_applied for group in table.optics], np.uint8)
    if table.defocus is None or not applied.any():
        return None
    return torch.from_numpy(applied[table.optics_index[rows]])
