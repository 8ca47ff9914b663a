"""Opening napari with the dock: for the command line, the reader and the sample data."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from napari_cryospin.engine.packages import require_packages

if TYPE_CHECKING:
    from pathlib import Path

    import napari

    from napari_cryospin.gui.dock import CryoSpinDock

PLUGIN = "napari-cryospin"
DOCK = "cryoSPIN"

# napari itself comes without a Qt binding
require_packages("The window needs", ("PyQt6", "PySide6"))


def dock_of(viewer: napari.Viewer) -> CryoSpinDock:
    """Return the dock of a viewer; it is opened where it is not."""
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    return cast("CryoSpinDock", widget)


def open_viewer() -> None:
    """Open napari with the dock, and run until it is closed."""
    import napari

    viewer = napari.Viewer()
    dock_of(viewer)
    napari.run()


def open_demo(seed: int, folder: Path) -> None:
    """Open napari with a simulated stack and a reconstruction running, until it is closed.

    Parameters
    ----------
    seed
        Seed of the simulation and of the run.
    folder
        Folder for the stack and the run.
    """
    import napari

    viewer = napari.Viewer()
    dock_of(viewer).start_demo(folder, seed)
    napari.run()
