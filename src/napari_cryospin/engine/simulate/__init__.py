"""The simulator: a map becomes a particle stack with known truth, ideal or as a microscope's."""

from napari_cryospin.engine.data.nuisances import REALISTIC, Junk, Noise, Nuisances, Views
from napari_cryospin.engine.simulate.sources import source_map, two_source_maps
from napari_cryospin.engine.simulate.writing import require_new_stack, simulate

__all__ = [
    "REALISTIC",
    "Junk",
    "Noise",
    "Nuisances",
    "Views",
    "require_new_stack",
    "simulate",
    "source_map",
    "two_source_maps",
]
