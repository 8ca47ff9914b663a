"""Opening particles: their working images live in memory, or in a working file on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_cryospin.engine.data import working_files
from napari_cryospin.engine.data.load import of_settings
from napari_cryospin.engine.data.plan import Plan
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run import memory_estimate
from napari_cryospin.engine.settings import DataSettings, first_problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.data.table import ParticleTable

# images live in memory where they take no more than this share of what is free
SHARE = 0.5
_FLOAT = 4


def open_particles(
    source: str | Path | DataSettings,
    *,
    progress: Callable[[int, int], None] | None = None,
    **values: Any,
) -> Particles:
    """Read a particle table and its images, and return the particles, ready to work on.

    Images are read from their working file where there is one, and are prepared otherwise.

    Parameters
    ----------
    source
        ``.star``, ``.cs``, or a bare stack ``.mrcs``, ``.mrc``, ``.st``; or the data settings of a
        run, which name it.
    progress
        Called with the number of images done and their total, where they have to be prepared.
    values
        Fields of :class:`~napari_cryospin.engine.settings.DataSettings` to set, such as ``box``
        (pixels), ``max_particles``, ``mask_diameter`` (Å), or ``particles_in="disk"``.

    Returns
    -------
    Particles
        Of box D, on the CPU; :meth:`~.Particles.to` moves them.

    Raises
    ------
    InputError
        If a value cannot be used, the table or its images are missing or damaged, or next to none
        of them can be used.
    """
    given = source.model_dump() if isinstance(source, DataSettings) else {"stack": source}
    try:
        data = DataSettings.model_validate(given | values)
    except ValidationError as error:
        raise InputError(first_problem(error)) from error
    return look_at(data, progress=progress)


def live_on_disk(data: DataSettings, table: ParticleTable) -> bool:
    """Return whether the working images of a table live in a working file, by setting or memory."""
    if data.particles_in != "auto":
        return data.particles_in == "disk"
    free = memory_estimate.free_memory()
    return free is not None and _bytes(Plan.of(table, data)) > SHARE * free


def moved(particles: Particles, device: torch.device) -> Particles:
    """Return particles for work on a device, with their images on it where they have room there."""
    free = memory_estimate.free_on(device)
    images = particles.n * particles.box**2 * _FLOAT
    return particles.to(device, images=free is None or images <= SHARE * free)


def look_at(
    data: DataSettings,
    table: ParticleTable | None = None,
    progress: Callable[[int, int], None] | None = None,
    extent: float | None = None,
) -> Particles:
    """Return the particles of a run that is looked at, from their working file where there is one.

    Parameters
    ----------
    data
        Settings of the data.
    table
        Their particle table, where it has been read already.
    progress
        Called with the number of images done and their total, where they have to be prepared.
    extent
        Width of the images that is wanted, Å; by default all that there is.

    Raises
    ------
    InputError
        If the particles cannot be read.
    """
    table = of_settings(data) if table is None else table
    known = (
        None if data.particles_in == "memory" else working_files.find(table, data, extent=extent)
    )
    if known is not None:
        return known
    make = working_files.make if live_on_disk(data, table) else prepare
    return make(table, data, progress, extent)


def _bytes(plan: Plan) -> int:
    return plan.n * plan.box**2 * _FLOAT
