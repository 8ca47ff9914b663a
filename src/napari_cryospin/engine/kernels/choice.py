"""Which kernels are used where."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from napari_cryospin.engine.kernels.maps import SlicerOfMaps
from napari_cryospin.engine.kernels.reference import TorchInserter, TorchSlicer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor

    from napari_cryospin.engine.kernels.interface import Inserter, Slicer

_torch_alone = False


@contextmanager
def with_torch_alone() -> Iterator[None]:
    """Use the kernels in torch alone, to compare the others with them."""
    global _torch_alone
    before, _torch_alone = _torch_alone, True
    try:
        yield
    finally:
        _torch_alone = before


@cache
def has_numba() -> bool:
    """Return whether numba can be used; without it torch does the work."""
    try:
        import numba
    except ImportError:  # it is missing, or does not go with this numpy
        return False
    # the loops as plain Python would take a thousand times longer than torch
    return not numba.config.DISABLE_JIT  # type: ignore[attr-defined]


def compiles(device: torch.device) -> bool:
    """Return whether compiled loops are used on a device."""
    return device.type == "cpu" and not _torch_alone and has_numba() and _trouble() is None


@cache
def _trouble() -> str | None:
    """Compile everything, once a process; return what is wrong where that fails."""
    try:
        from napari_cryospin.engine.kernels.cpu import compile_all

        compile_all()
    except Exception as error:  # of a compiler anything may come
        words = " ".join(str(error).split())
        return f"The kernels cannot be compiled, and the run takes several times longer: {words}"
    return None


def make_ready(device: torch.device) -> str | None:
    """Compile what is used on a device, which takes seconds where it was never done before.

    Returns a sentence where that fails, or nothing can compile; torch does the work then.
    """
    if device.type != "cpu" or _torch_alone:
        return None
    if not has_numba():
        return (
            "The package numba is missing, does not go with this numpy or is switched off "
            "(NUMBA_DISABLE_JIT), and the run takes several times longer: pip install numba."
        )
    return _trouble()


def slicer(grid: Tensor) -> Slicer:
    """Return what reads the slices of a Hartley grid, (D+1)³."""
    if compiles(grid.device):
        from napari_cryospin.engine.kernels.cpu import CompiledSlicer

        return CompiledSlicer(grid)
    return TorchSlicer(grid)


def slicer_of(grids: Tensor) -> Slicer:
    """Return what reads the slices of several Hartley grids, (C, D+1, D+1, D+1), or of one.

    Poses then say of which map they are.
    """
    if len(grids) == 1:
        return slicer(grids[0])
    return SlicerOfMaps([slicer(grid) for grid in grids])


def inserter(box: int, device: torch.device) -> Inserter:
    """Return empty Hartley grids of a box, on a device, that slices are added to."""
    if compiles(device):
        from napari_cryospin.engine.kernels.cpu import CompiledInserter

        return CompiledInserter(box)
    return TorchInserter(box, device)
