"""Files dropped on napari: tables and runs open in the dock, our maps and stacks as layers."""

from __future__ import annotations

from fnmatch import fnmatch
from os.path import isdir, isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.data.simulated_names import TABLE, TRUE_MAP
from napari_cryospin.engine.runfolder import names
from napari_cryospin.gui.canvas.units import TAG, fitting_units

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_cryospin.engine.data.mrc import MrcLayout

    Layers = list[tuple[Any, ...]]

_TABLES = (".star", ".cs")
_STACKS = ".mrcs"
# names of what a run, an export or a simulation writes; other MRC files are other plugins'.
# The manifest lists the same.
MAPS = (
    *("map*.mrc", f"*_{names.MAP}", f"*_{names.FULL_SIZE_MAP}"),
    *("half[12]*.mrc", "*_half[12].mrc", names.MAP_OF_AN_EPOCH, TRUE_MAP),
)
_CHUNK_BYTES = 16 * 2**20
# what File > Open Sample opens, as the manifest says: no file, it is simulated first. A sample that
# is a function would have to return a layer at once
SAMPLE = f"cryospin://sample/{TABLE}"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], Layers] | None:
    """Return a reader for tables, runs, our maps and image stacks, or None for anything else."""
    first = Path(path if isinstance(path, str) else path[0])
    if isdir(first):
        return _open_in_dock if isfile(first / names.SETTINGS) else None
    suffix = first.suffix.lower()
    if suffix in _TABLES:
        return _open_in_dock
    if suffix == _STACKS or any(fnmatch(first.name, pattern) for pattern in MAPS):
        return _as_layers
    return None


def _open_in_dock(path: str | Sequence[str]) -> Layers:
    """Open the path in the dock of the present viewer; no layer is made for it."""
    import napari

    from napari_cryospin.gui.launch import dock_of

    viewer, first = napari.current_viewer(), path if isinstance(path, str) else path[0]
    if viewer is not None:
        dock = dock_of(viewer)
        if first == SAMPLE:
            dock.open_sample()
        else:
            dock.open_path(Path(first))
    # napari's way to say: read, and nothing to add
    return [(None,)]


def _as_layers(path: str | Sequence[str]) -> Layers:
    """Return each file as an image layer, its scale in Å; stacks are read as they are looked at."""
    from napari_cryospin.engine.data.mrc import read_layout

    layers: Layers = []
    for name in [path] if isinstance(path, str) else path:
        file = Path(name)
        layout = read_layout(file)
        pixel_size = layout.pixel_size or 1.0
        if file.suffix.lower() == _STACKS:
            layers.append(_stack(layout, file.name, (1.0, pixel_size, pixel_size)))
        else:
            volume = layout.read(_all(layout))
            title = f"{file.parent.name}/{file.name}"
            options = _options(title, (pixel_size,) * 3)
            layers.append((volume, options, "image"))
    return layers


def _options(name: str, scale: tuple[float, ...]) -> dict[str, Any]:
    """Return what the layers of all files have; their lengths are in Å."""
    import napari

    viewer = napari.current_viewer()
    # the numbers of a stack's images are no lengths; but they stand where a map has its z, and
    # napari warns where a map and a stack differ there
    units = fitting_units([] if viewer is None else viewer.layers)
    return {"name": name, "scale": scale, "units": units, "metadata": {TAG: "file"}}


def _stack(layout: MrcLayout, name: str, scale: tuple[float, ...]) -> tuple[Any, ...]:
    """Return a stack as a layer whose images are read in portions, when they are shown."""
    import dask.array
    import numpy as np

    n, *sides = layout.shape
    portion = max(1, _CHUNK_BYTES // (4 * sides[0] * sides[1]))
    counts = tuple(min(portion, n - start) for start in range(0, n, portion))

    def read(block_info: Any = None) -> Any:
        start, stop = block_info[None]["array-location"][0]
        return layout.read(np.arange(start, stop))

    images = dask.array.map_blocks(
        read,
        chunks=(counts, *((side,) for side in sides)),
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
    )
    # of the first images: all would have to be read otherwise
    limits = np.percentile(layout.read(np.arange(min(n, 10))), (0.5, 99.5)).tolist()
    low, high = limits if limits[0] < limits[1] else (limits[0], limits[0] + 1)
    return images, {**_options(name, scale), "contrast_limits": (low, high)}, "image"


def _all(layout: MrcLayout) -> Any:
    import numpy as np

    return np.arange(layout.shape[0])
