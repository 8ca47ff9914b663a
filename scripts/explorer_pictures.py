"""Take the pictures of the explorer's views for the documentation, from a finished run.

Run ``python scripts/explorer_pictures.py RUN`` with a display, or under
``xvfb-run -a -s "-screen 0 1920x1080x24"``. The pictures in docs/ are those of the run that
``benchmarks/hsp90_modes.py`` makes: Hsp90, 3,000 simulated particles.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import Qt
from waiting import until, wait

from napari_cryospin.gui.launch import dock_of

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_cryospin.gui.dock import CryoSpinDock

IMAGES = Path(__file__).parents[1] / "docs" / "images"
# the explorer is shown at an early epoch of auto-encoding, and at the last
EARLY, PARTICLE = 4, 11
HEAD_NUMBERS = "Heads: numbers"


def main() -> None:
    """Open the run, go through the tabs, and save a picture of each."""
    run = Path(sys.argv[1])
    viewer = napari.Viewer()
    viewer.window.resize(1600, 960)
    dock = dock_of(viewer)
    dock.open_path(run)
    until(lambda: dock.posterior.feed.result is not None)
    dock.open_posterior.setChecked(True)
    panel = dock.posterior
    panel.spin.choose(PARTICLE)
    panel.slider.setValue(EARLY)
    until(lambda: panel.feed.result.request.volume.epoch == panel.explorer.recorded[EARLY])
    wait(2000)
    picture(dock, "explorer_candidates", panel.candidates)
    panel.tabs.setCurrentWidget(panel.particles)
    panel.particles.compute.click()
    until(lambda: panel.particles.table.model.known(1))
    panel.particles.table.view.sortByColumn(2, Qt.SortOrder.DescendingOrder)
    picture(dock, "explorer_particles", panel.particles)
    picture(dock, "explorer_heads", panel.heads)
    picture(dock, "explorer_views", panel.views)
    panel.heads.on_canvas.setChecked(True)
    panel.tabs.setCurrentWidget(panel.pose)
    # the last that comes
    until(lambda: any(layer.name == HEAD_NUMBERS and layer.visible for layer in viewer.layers))
    wait(2500)
    viewer.window.screenshot(IMAGES / "explorer_early.png", canvas_only=False, flash=False)
    panel.heads.on_canvas.setChecked(False)
    panel.slider.setValue(panel.slider.maximum())
    until(lambda: panel.feed.result.request.volume.epoch == panel.explorer.recorded[-1])
    wait(2000)
    picture(dock, "explorer_pose", panel.pose)
    panel.tabs.setCurrentWidget(panel.survey)
    panel.survey.measure.click()
    until(lambda: len(panel.survey.surveys) == len(panel.explorer.recorded))
    until(lambda: len(panel.survey.reliability.levels) > 0)
    picture(dock, "explorer_data_set", panel.survey)
    viewer.close()


def picture(dock: CryoSpinDock, name: str, page: QWidget) -> None:
    """Save a picture of the explorer with a page in front."""
    dock.posterior.tabs.setCurrentWidget(page)
    wait(2000)
    dock.posterior.grab().save(str(IMAGES / f"{name}.png"))


if __name__ == "__main__":
    main()
