"""Importing the engine, and torch with it, without a pause of the window."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from napari_cryospin.engine.allocator import share_arenas
from napari_cryospin.gui.work.garbage import put_off

_MODULES = ("run.reconstruction", "run.demo", "run.following")
_ENDINGS = {"linux": ".so", "darwin": ".dylib"}


@cache
def import_engine() -> None:
    """Import what the engine needs: off the main thread, once for the process."""
    share_arenas()
    load_torch_libraries()
    with put_off():
        for name in _MODULES:
            import_module(f"napari_cryospin.engine.{name}")


@cache
def load_torch_libraries() -> None:
    """Load the libraries of torch ahead of its import, while other threads go on.

    Python lets no other thread run while it loads the libraries of a module: with torch the window
    would stand still. A foreign function lets them, and the import finds the libraries there.
    What fails here is left to the import.
    """
    ending = _ENDINGS.get(sys.platform)
    spec = None if "torch" in sys.modules or ending is None else find_spec("torch")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    # in the order and the way in which torch itself does it
    for name, how in (("global_deps", os.RTLD_GLOBAL), ("python", os.RTLD_LOCAL)):
        dlopen(os.fsencode(folder / f"libtorch_{name}{ending}"), os.RTLD_NOW | how)
