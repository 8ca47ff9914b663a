"""Reading the particles of a run, as events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.allocator import keep_freed
from napari_cryospin.engine.data import working_files
from napari_cryospin.engine.data.load import of_settings
from napari_cryospin.engine.data.preprocess import prepare
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.events import Progress
from napari_cryospin.engine.kernels import make_ready
from napari_cryospin.engine.run.homes import live_on_disk, moved
from napari_cryospin.engine.run.memory_estimate import require_memory
from napari_cryospin.engine.run.progress import with_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    import torch

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.settings import Settings

# each half-map needs one
_FEWEST = 2
_READING = "Reading particles"
_COMPILING = "Making the kernels ready"
# seconds to wait for reading to end where it is not wanted any more
_PATIENCE = 10.0


def load_particles(
    settings: Settings,
    device: torch.device,
    notes: list[str],
    stopped: Callable[[], bool],
    resumed: Path | None = None,
) -> Generator[Event, None, Particles]:
    """Yield the progress of reading, and return the particles of a run; its kernels are compiled.

    Parameters
    ----------
    settings
        Settings of the run.
    device
        Where the particles are to be; what the run will need of its memory is estimated first.
    notes
        Takes what is to be said of memory and kernels.
    stopped
        Whether to stop reading.
    resumed
        ``settings.toml`` of a run that goes on.

    Raises
    ------
    InputError
        If the particles cannot be read, or are too few.
    Stopped
        If reading was stopped.
    """
    data = settings.data
    if data.stack is None and resumed is not None:
        raise InputError(f"{resumed} names no particle stack.")
    table = of_settings(data)
    on_disk = live_on_disk(data, table)
    notes += require_memory(settings, table, device, on_disk=on_disk)
    particles: Particles | None = None
    if on_disk:
        particles = yield from with_progress(
            "Checking the working file",
            lambda report: working_files.find(table, data, report),
            stopped,
        )
        notes.append(f"The working images live on disk, in {working_files.folder()}.")
    if particles is None:
        make = working_files.make if on_disk else prepare
        particles = yield from with_progress(
            _READING,
            lambda report: make(table, data, report),
            stopped,
            patience=_PATIENCE,
        )
    if particles.n < _FEWEST:
        raise InputError(
            f"{table.source}: {particles.n} particle in use; a reconstruction needs at least "
            f"{_FEWEST}, and hundreds to show anything."
        )
    keep_freed()
    yield Progress(_COMPILING, 0, 0)
    if (problem := make_ready(device)) is not None:
        notes.append(problem)
    return moved(particles, device)
