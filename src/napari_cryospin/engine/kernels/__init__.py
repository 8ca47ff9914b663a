"""The two operations that a run spends its time in: comparing images with a map, inserting them.

:func:`slicer` and :func:`inserter` give what does it best where the tensors are: compiled loops on
a processor with numba, torch elsewhere. Both stand behind the classes of
:mod:`~.kernels.interface`, and give equal results.
"""

from napari_cryospin.engine.kernels.choice import (
    inserter,
    make_ready,
    slicer,
    slicer_of,
    with_torch_alone,
)
from napari_cryospin.engine.kernels.interface import Inserter, PosedImages, PoseFit, Slicer

__all__ = [
    "Inserter",
    "PoseFit",
    "PosedImages",
    "Slicer",
    "inserter",
    "make_ready",
    "slicer",
    "slicer_of",
    "with_torch_alone",
]
