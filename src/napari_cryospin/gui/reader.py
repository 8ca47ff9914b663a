"""Dropping a STAR file, a cryoSPARC table or a run folder on napari opens it in the dock."""

from __future__ import annotations

from os.path import isdir, isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TABLES = (".star", ".cs")


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[tuple[None]]] | None:
    """Return a reader for particle tables and run folders, or None for anything else."""
    first = Path(path if isinstance(path, str) else path[0])
    if isdir(first):
        return _open_in_dock if isfile(first / "settings.toml") else None
    return _open_in_dock if first.suffix.lower() in _TABLES else None


def _open_in_dock(path: str | Sequence[str]) -> list[tuple[None]]:
    """Open the path in the dock of the present viewer; no layer is made for it."""
    import napari

    from napari_cryospin.gui.launch import dock_of

    viewer = napari.current_viewer()
    if viewer is not None:
        dock_of(viewer).open_path(Path(path if isinstance(path, str) else path[0]))
    # napari's way to say: read, and nothing to add
    return [(None,)]
