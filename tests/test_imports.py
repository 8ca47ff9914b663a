from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "healpy"}
GUI = {"qtpy", "napari", "vispy", "magicgui", "superqt", "pyqtgraph", "PyQt6", "PySide6"}


def modules_loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running ``code``."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_neither_the_package_nor_reading_a_table_imports_anything_heavy():
    loaded = modules_loaded_by("import napari_cryospin, napari_cryospin.engine.data.load")
    assert not loaded & (HEAVY | GUI)


def test_the_engine_runs_without_qt_and_napari():
    loaded = modules_loaded_by("import napari_cryospin.engine.run.reconstruction")
    assert "torch" in loaded
    assert not loaded & GUI


def test_what_the_manifest_names_imports_neither_torch_nor_healpy():
    code = """
from importlib import import_module
from npe2 import PluginManifest
manifest = PluginManifest.from_distribution("napari-cryospin")
names = [command.python_name for command in manifest.contributions.commands]
assert names
for name in names:
    import_module(name.partition(":")[0])
"""
    assert not modules_loaded_by(code) & HEAVY
