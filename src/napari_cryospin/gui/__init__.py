"""The dock and its views: shows engine state and sends commands; no mathematics.

What it needs comes with the extras ``viewer`` and ``all``; the engine and the command line do
without. Whoever imports a part of it where something is missing is told what to install.
"""

from napari_cryospin.engine.geometry.sphere import LIBRARIES
from napari_cryospin.engine.packages import require_packages

require_packages(
    "The window and its pictures need",
    *(("napari",), ("qtpy",), ("pyqtgraph",), ("superqt",), ("magicgui",), ("dask",), ("pint",)),
    LIBRARIES,
)
