"""From raw particles to working images: small, normalised, white, softly masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.data.bad_images import Inspection, sample
from napari_cryospin.engine.data.image_store import MemoryHome
from napari_cryospin.engine.data.noise_groups import Spectra, filters_of
from napari_cryospin.engine.data.normalise import background, normalise
from napari_cryospin.engine.data.plan import Plan, Prepared
from napari_cryospin.engine.data.ramps import ramp_share, without_ramps
from napari_cryospin.engine.data.resize import fourier_crop, real_crop
from napari_cryospin.engine.data.slow_background import slow_share, without_slow
from napari_cryospin.engine.data.stack import StackReader
from napari_cryospin.engine.data.usual import Usual
from napari_cryospin.engine.models.noise import usual_ones

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.image_store import Home
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.data.table import OpticsGroup, ParticleTable
    from napari_cryospin.engine.settings import DataSettings

# raw images in memory at a time; what is made of them on the way takes about five times as much
_CHUNK_BYTES = 64 * 2**20


def prepare(
    table: ParticleTable,
    settings: DataSettings,
    progress: Callable[[int, int], None] | None = None,
    extent: float | None = None,
) -> Particles:
    """Read particles and make their working images, in the computer's memory.

    Parameters
    ----------
    table
        The particle table.
    settings
        Working box, contrast, mask and number of particles.
    progress
        Called with the number of images done and their total.
    extent
        Width of the images that is wanted, Å; by default all that there is.

    Raises
    ------
    InputError
        If images are missing or damaged, or next to none of them can be used.
    """
    plan = Plan.of(table, settings, extent)
    home = MemoryHome(plan.n, plan.box)
    prepared = prepare_images(plan, home, progress)
    return plan.particles(prepared, home.finish(prepared))


def prepare_images(
    plan: Plan, home: Home, progress: Callable[[int, int], None] | None = None
) -> Prepared:
    """Read particles, and give a home their working images, a bounded number at a time.

    Every image is normalised by its own background at full size, as RELION does; one factor for
    each optics group then gives the noise that is left after the Fourier crop unit variance. (A
    small image has too few pixels outside the mask to measure its own deviation well.) It is known
    once all images have been seen, and so comes with what is returned.

    Dust is replaced, and particles whose images cannot be used are set aside
    (:mod:`~.bad_images`).

    Parameters
    ----------
    plan
        What the images will be.
    home
        Takes the images.
    progress
        Called with the number of images done and their total.

    Raises
    ------
    InputError
        As :func:`prepare`.
    """
    table, rows, sizes = plan.table, plan.rows, plan.sizes
    reader = StackReader(table)
    outside = background(sizes.box, plan.across)
    noisy = torch.empty(len(rows), dtype=torch.bool)
    powers = torch.empty(len(rows), dtype=torch.float64)
    members = table.optics_index[rows]
    inspection = Inspection(table, rows)
    alike = plan.noise_groups
    spectra = Spectra(len(alike.optics), plan.mask) if alike.several else None
    done, notes = 0, list[str]()
    for group, crop in zip(plan.groups, sizes.crops, strict=True):
        optics = table.optics[group]
        across = plan.diameter / optics.pixel_size
        chunks = _chunks(np.flatnonzero(members == group), optics.box)
        some = sample(np.flatnonzero(members == group), len(chunks[0]))
        sample_images = torch.from_numpy(reader.read(rows[some]))
        usual, ramps = Usual.of(sample_images, across), ramp_share(sample_images, across)
        slow, several = slow_share(sample_images, across), len(plan.groups) > 1
        if ramps:
            notes.append(_removed("Linear ramps are", "they hold", ramps, optics, several=several))
        if slow:
            said = "A background of low frequency is", "it holds"
            notes.append(_removed(*said, slow, optics, several=several))
        for chunk in chunks:
            raw = torch.from_numpy(reader.read(rows[chunk]))
            part, raw = inspection.mend(chunk, raw, usual, across)
            if len(part):
                raw = without_ramps(raw, across) if ramps else raw
                raw = without_slow(raw) if slow else raw
                normalised, noisy[part], scale = normalise(raw, across)
                small = fourier_crop(real_crop(normalised, crop), sizes.box)
                inspection.measure(part, small, scale)
                powers[part] = small[:, outside].double().square().mean(1)
                if spectra is not None:
                    usable = noisy[part]
                    spectra.add(alike.of[part[usable.numpy()]], small[usable])
                home.put(part, small * plan.mask)
            done += len(chunk)
            if progress:
                progress(done, len(rows))
    inspection.set_beads_aside(members)
    kept = inspection.kept()
    noisy, powers, members = noisy[kept], powers[kept], members[kept]
    if not noisy.all():
        notes.append(
            f"{int((~noisy).sum())} images have no noise in the background: they are scaled by "
            "their own standard deviation."
        )
    factors = _factors(powers, noisy, members)
    if not table.particles_are_white:
        notes.append(
            "Particles are dark on disk: the images are inverted for the map, and written tables "
            "say so; export --invert writes the inverted images."
        )
        factors = -factors
    noise = None
    if spectra is not None:
        noise = filters_of(alike, spectra.power, spectra.counts, spectra.independent)
    if noise is not None:
        notes.append(_differing(noise, plan))
    return Prepared(kept, factors, inspection.set_aside(), (*notes, *inspection.notes()), noise)


def _removed(what: str, holds: str, share: float, optics: OpticsGroup, *, several: bool) -> str:
    """Return in words what is removed from the images of an optics group."""
    whose = f" of the optics group {optics.name}" if several else ""
    return (
        f"{what} removed from the images{whose}: {holds} {100 * share:.1f} % of the power of the "
        "background."
    )


def _differing(noise: Tensor, plan: Plan) -> str:
    """Return in words that groups of images have noise of their own, and where it differs most."""
    variance = noise[:, 1:].square()
    ratio = variance.amax(0) / variance.amin(0)
    shell = int(ratio.argmax()) + 1
    period = plan.box * plan.sizes.pixel_size / shell
    return (
        f"The noise of {len(noise)} groups of images (optics groups, or micrographs) differs, most "
        f"at {period:.0f} Å by a factor of {float(ratio.max()):.1f} in variance: they are weighed "
        "by frequency, group by group."
    )


def _chunks(members: NDArray[np.int64], box: int) -> list[NDArray[np.int64]]:
    size = max(1, _CHUNK_BYTES // (4 * box**2))
    return [members[start : start + size] for start in range(0, len(members), size)]


def _factors(powers: Tensor, noisy: Tensor, members: NDArray[np.int64]) -> Tensor:
    """Return factors, (n,), that give the noise of each optics group unit variance.

    ``powers`` are the mean squares of each image's background, (n,).
    """
    factors = torch.ones(len(powers))
    for group in np.unique(members):
        in_group = torch.from_numpy(members == group)
        if (in_group & noisy).any():
            background_power = powers[in_group & noisy]
            usual = background_power[usual_ones(background_power)]
            factors[in_group] = float(usual.mean().rsqrt())
    return factors
