"""What the explorer's views cost the training: its rate with each view open, and with none.

Run ``python benchmarks/views_cost.py`` with a display, or under
``xvfb-run -a -s "-screen 0 1920x1080x24"``; it writes ``results/views_cost.md``. The views take
turns, again and again in one run of auto-encoding, so that all see the same load and stage.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from machine import description, write_table
from qtpy.QtCore import QEventLoop, QTimer

from napari_cryospin.engine.run.demo import demo_settings, simulate_demo
from napari_cryospin.gui.launch import dock_of
from napari_cryospin.gui.panels.training_panel import spare_threads

if TYPE_CHECKING:
    from napari_cryospin.gui.dock import CryoSpinDock

ROUNDS, SECONDS, SETTLING = 3, 22.0, 6.0
HIDDEN, SPHERES = "all hidden", "spheres alone"


def main() -> None:
    """Measure in turns, and write the table."""
    machine = description()
    with tempfile.TemporaryDirectory() as name:
        rates = measured(Path(name))
    lines = [
        "| view | images per second, median of the rounds | share of the rate without views |",
        "|---|---:|---:|",
    ]
    for view, found in rates.items():
        share = np.median(np.array(found) / np.array(rates[HIDDEN]))
        lines.append(f"| {view} | {np.median(found):,.0f} | {100 * share:.0f} % |")
    lines += [
        "",
        f"{ROUNDS} rounds; {SECONDS:.0f} s for each view, of which the first {SETTLING:.0f} s do "
        "not count, in which a view catches up with the run; training with "
        f"{spare_threads()} threads as in the dock; the share is the median over the rounds. With "
        "all hidden the dock shows the Training tab and the spheres are off; with every view the "
        "spheres are on; the map is drawn in every case.",
    ]
    write_table("views_cost", "What the explorer's views cost the training", lines, machine)


def measured(folder: Path) -> dict[str, list[float]]:
    """Return the images per second of each view in each round."""
    simulate_demo(folder, 0)
    settings = demo_settings(folder, 0)
    settings.threads = spare_threads()
    settings.set("amortized.epochs", 1000)
    viewer = napari.Viewer()
    viewer.window.resize(1600, 900)
    dock = dock_of(viewer)
    dock.session.start(settings, folder / "run")
    while dock.session.latest_volume is None or dock.posterior.feed.result is None:
        wait(0.2)
    names = [dock.posterior.tabs.tabText(i) for i in range(dock.posterior.tabs.count())]
    rates: dict[str, list[float]] = {name: [] for name in (HIDDEN, SPHERES, *names)}
    for _ in range(ROUNDS):
        for name, found in rates.items():
            show(dock, viewer, name)
            found.append(rate(dock))
            print(name, f"{found[-1]:.0f}", flush=True)
    dock.session.stop(keep=False)
    while dock.session.active:
        wait(0.2)
    viewer.close()
    return rates


def show(dock: CryoSpinDock, viewer: napari.Viewer, name: str) -> None:
    """Bring a view to the front, or none."""
    hidden, tab = name == HIDDEN, name not in (HIDDEN, SPHERES)
    for layer in viewer.layers:
        if layer.name.startswith(("Posterior", "Candidates", "Head", "Views")):
            layer.visible = not hidden
    dock.tabs.setCurrentWidget(dock.posterior if tab else dock.training)
    names = [dock.posterior.tabs.tabText(i) for i in range(dock.posterior.tabs.count())]
    if tab:
        dock.posterior.tabs.setCurrentIndex(names.index(name))


def rate(dock: CryoSpinDock) -> float:
    """Return the images per second that training does, after some settling."""
    wait(SETTLING)
    batches, start = len(dock.session.losses), time.perf_counter()
    wait(SECONDS - SETTLING)
    assert dock.session.settings is not None
    done = len(dock.session.losses) - batches
    return done * dock.session.settings.stages[0].batch_size / (time.perf_counter() - start)


def wait(seconds: float) -> None:
    """Let the event loop run for a while."""
    loop = QEventLoop()
    QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec()


if __name__ == "__main__":
    main()
