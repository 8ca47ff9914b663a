"""Reading particle tables in the background.

The engine is imported when it is first needed, since it imports torch: off the main thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.table import ParticleTable


def read_table(path: Path, passthrough: Path | None, datadir: Path | None) -> ParticleTable:
    """Return the particle table in a file; its images are looked for in ``datadir`` first."""
    from napari_cryospin.engine.data import load
    from napari_cryospin.engine.data.given import Given

    return load.read_table(path, passthrough=passthrough, given=Given(datadir=datadir))
