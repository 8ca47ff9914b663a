"""From raw particles to working images: small, normalised, white, softly masked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.bad_images import Inspection, sample
from napari_cryospin.engine.data.image_store import InMemory
from napari_cryospin.engine.data.normalise import background, normalise, soft_mask
from napari_cryospin.engine.data.particles import Particles
from napari_cryospin.engine.data.resize import fourier_crop, real_crop, working_sizes
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


def prepare(
    table: ParticleTable,
    settings: DataSettings,
    progress: Callable[[int, int], None] | None = None,
) -> Particles:
    """Read particles and make their working images, a bounded number at a time.

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
    return Particles(
        table,
        rows,
        InMemory(images),
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
