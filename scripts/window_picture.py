"""Take the README's picture of the window: a real run of the demo, after the switch.

Run it with a display, or under ``xvfb-run -a -s "-screen 0 1600x900x24"``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QEventLoop, QTimer
from waiting import wait

from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.launch import dock_of

if TYPE_CHECKING:
    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.gui.explorer.posterior_worker import PosteriorResult

TARGET = Path(__file__).parents[1] / "docs" / "images" / "window.png"


def main() -> None:
    """Run the demo until its end in view of the posterior, and save the window."""
    viewer = napari.Viewer()
    viewer.window.resize(1600, 900)
    dock = dock_of(viewer)
    ended = QEventLoop()
    dock.session.finished.connect(lambda _: ended.quit())
    dock.open_posterior.setChecked(True)
    with tempfile.TemporaryDirectory() as folder:
        dock.start_demo(Path(folder) / "demo", seed=0)
        picture = QTimer()
        picture.setSingleShot(True)

        def on_epoch(done: EpochDone) -> None:
            # some seconds of auto-decoding: the map has its shape, and training goes on
            stage = [each for each in dock.session.history if each.inference is Inference.DIRECT]
            if len(stage) == 4 and done is stage[-1]:
                # another particle is answered at once, with the present map
                dock.posterior.spin.choose(1)

        def on_posterior(result: PosteriorResult) -> None:
            if result.posterior.particle == 1:
                picture.start(500)

        dock.session.epoch_done.connect(on_epoch)
        dock.posterior.feed.ready.connect(on_posterior)
        picture.timeout.connect(
            lambda: viewer.window.screenshot(TARGET, canvas_only=False, flash=False)
        )
        ended.exec()
        wait(500)
        viewer.close()


if __name__ == "__main__":
    main()
