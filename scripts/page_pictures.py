"""Take pictures of every page of the window, on a small, a large and an enlarged screen.

``python scripts/page_pictures.py RUN FOLDER`` opens a finished run, with a display of
1920 × 1080 or under ``xvfb-run -a -s "-screen 0 1920x1080x24"``, and saves a picture of each page
at each size, dark and light, in FOLDER. They are there to be looked at.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

# name, size of the window in logical pixels, and how much the screen is enlarged
SIZES = (
    ("1366x768", (1366, 768), 1.0),
    ("1920x1080", (1920, 1080), 1.0),
    ("1920x1080_at_150", (1280, 720), 1.5),
)
THEMES = ("dark", "light")


def main() -> None:
    """Take all pictures, each size and theme in a process of its own."""
    run, folder = sys.argv[1:3]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, (width, height), scale in SIZES:
        for theme in THEMES:
            words = [run, folder, f"{name}_{theme}", theme, str(width), str(height)]
            subprocess.run(
                [sys.executable, __file__, *words],
                env={**os.environ, "QT_SCALE_FACTOR": str(scale)},
                check=True,
            )


def take(run: Path, folder: Path, name: str, theme: str, width: int, height: int) -> None:
    """Open a run in a window of a size, and save its pages."""
    import napari
    from napari.settings import get_settings
    from qtpy.QtCore import QSettings
    from waiting import until, wait

    from napari_cryospin.gui.launch import dock_of

    # as it is found at first
    ini, user = QSettings.Format.IniFormat, QSettings.Scope.UserScope
    QSettings.setPath(ini, user, tempfile.mkdtemp())
    get_settings().appearance.theme = theme
    viewer = napari.Viewer(show=False)
    window = viewer.window._qt_window
    window.resize(width, height)
    window.show()
    dock = dock_of(viewer)
    wait(1000)
    window.resize(width, height)

    def picture(page: str) -> None:
        wait(1500)
        window.grab().save(str(folder / f"{name}_{page}.png"))
        share = viewer.window._qt_viewer.width() / window.width()
        size = f"{window.width()} x {window.height()}"
        print(f"{name} {page}: window {size}, canvas {100 * share:.0f} % of its width", flush=True)

    picture("empty")
    dock.open_path(run)
    until(lambda: dock.posterior.feed.result is not None)
    for page in (dock.data, dock.training, dock.monitor, dock.results):
        dock.tabs.setCurrentWidget(page)
        picture(dock.tabs.tabText(dock.tabs.currentIndex()).lower())
    dock.open_posterior.setChecked(True)
    pages = dock.posterior.tabs
    for place in range(pages.count()):
        pages.setCurrentIndex(place)
        wait(2000)
        picture(f"posterior_{pages.tabText(place).lower().replace(' ', '_')}")
    viewer.close()


if __name__ == "__main__":
    if len(sys.argv) == 7:
        take(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5], *map(int, sys.argv[5:7]))
    else:
        main()
