"""Reading the particles of a run, as events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.data.load import of_settings
from napari_cryospin.engine.data.preprocess import WorkingStack, prepare
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.memory_estimate import require_memory
from napari_cryospin.engine.run.progress import with_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    import torch

    from napari_cryospin.engine.events import Event
    from napari_cryospin.engine.settings import Settings

# each half-map needs one
_FEWEST = 2


def load_particles(
    settings: Settings,
    device: torch.device,
    notes: list[str],
    stopped: Callable[[], bool],
    resumed: Path | None = None,
) -> Generator[Event, None, WorkingStack]:
    """Yield the progress of reading, and return the working stack of a run.

    Parameters
    ----------
    settings
        Settings of the run.
    device
        What the run will need of its memory is estimated first.
    notes
        Takes what is to be said of the memory.
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
    notes += require_memory(settings, table, device)
    stack: WorkingStack = yield from with_progress(
        "Reading particles", lambda report: prepare(table, data, report), stopped
    )
    if stack.n < _FEWEST:
        raise InputError(
            f"{table.source}: {stack.n} particle in use; a reconstruction needs at least "
            f"{_FEWEST}, and hundreds to show anything."
        )
    return stack
