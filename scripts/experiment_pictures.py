"""Take the pictures of experiments and of the comparison for the documentation.

Run ``python scripts/experiment_pictures.py DIR [FOLDER]`` with a display, or under
``xvfb-run -a -s "-screen 0 1920x1080x24"``. ``DIR`` is a finished experiment, such as that of the
tutorial in docs/experiments.md; nothing of it is run again. FOLDER takes the pictures instead of
docs/images.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import napari
from qtpy.QtCore import QSettings
from waiting import until, wait

from napari_cryospin.gui.launch import dock_of

IMAGES = Path(__file__).parents[1] / "docs" / "images"
PAGES = ("curves", "switch", "table", "maps")


def main() -> None:
    """Open the experiment, and save a picture of its cells and of every page."""
    folder = Path(sys.argv[1]).absolute()
    images = Path(sys.argv[2]) if len(sys.argv) > 2 else IMAGES
    # as the window is found at first
    ini, user = QSettings.Format.IniFormat, QSettings.Scope.UserScope
    QSettings.setPath(ini, user, tempfile.mkdtemp())
    viewer = napari.Viewer()
    viewer.window.resize(1600, 960)
    dock = dock_of(viewer)
    wait(1000)
    panel, compare = dock.experiments, dock.compare
    dock.tabs.setCurrentWidget(panel)
    panel.take_up(folder)
    wait(500)
    panel.grab().save(str(images / "experiments_design.png"))
    panel.add.click()
    panel.start.click()
    until(lambda: all(item.ended for item in dock.queue.items) and not dock.queue.active)
    first = panel.view.topLevelItem(0)
    panel.view.setCurrentItem(first.child(0))
    panel.open.click()
    until(lambda: dock.session.latest_volume is not None)
    dock.open_posterior.setChecked(False)
    panel.compare.click()
    until(lambda: len(compare.tree.compared()) == first.childCount())
    compare.over_seeds.setChecked(True)
    wait(3000)
    viewer.window.screenshot(images / "experiments_window.png", canvas_only=False, flash=False)
    for place, name in enumerate(PAGES):
        compare.tabs.setCurrentIndex(place)
        wait(500)
        compare.grab().save(str(images / f"compare_{name}.png"))
    viewer.close()


if __name__ == "__main__":
    main()
