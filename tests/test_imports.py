from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "healpy", "astropy"}
# with the run folder: those of Python, numpy, pydantic and mrcfile, some 370
MOST_MODULES = 500
GUI = {"qtpy", "napari", "vispy", "magicgui", "superqt", "pyqtgraph", "PyQt6", "PySide6"}


ENGINE = "napari_cryospin.engine"


def all_modules_loaded_by(code: str) -> set[str]:
    """Modules that a fresh interpreter holds after running ``code``."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def modules_loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running ``code``."""
    return {name.partition(".")[0] for name in all_modules_loaded_by(code)}


def test_the_package_and_the_run_folder_import_nothing_heavy():
    code = f"""
from importlib import import_module
from pkgutil import iter_modules
from {ENGINE} import runfolder
for module in iter_modules(runfolder.__path__):
    import_module(f"{{runfolder.__name__}}.{{module.name}}")
"""
    loaded = all_modules_loaded_by(code)
    assert f"{ENGINE}.runfolder.records" in loaded
    assert not {name.partition(".")[0] for name in loaded} & (HEAVY | GUI | {"scipy", "pandas"})
    # what little of the engine comes with the room
    rooms = {name.removeprefix(f"{ENGINE}.") for name in loaded if name.startswith(f"{ENGINE}.")}
    words = {"errors", "events", "failures", "files", "presets", "registry", "settings", "stages"}
    words |= {"switch_at", "switch_figures", "symmetry_names", "half_resolution"}
    words |= {"event", "live_events", "steering_events"}
    own = {name for name in rooms if name.partition(".")[0] == "runfolder"}
    assert rooms - own - words <= {"data", "data.mrc_writer", "data.member"}
    assert len(loaded) < MOST_MODULES


def test_reading_a_table_imports_nothing_heavy():
    loaded = modules_loaded_by("import napari_cryospin.engine.data.load")
    assert not loaded & (HEAVY | GUI)


def test_what_scripts_import_is_without_qt_and_napari():
    # torch's threads read it as they begin
    policy = "import os; assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'"
    loaded = modules_loaded_by(f"import napari_cryospin.api; {policy}")
    assert "torch" in loaded
    assert not loaded & GUI


def test_what_the_manifest_names_imports_nothing_heavy():
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
