"""The engine and its commands on a machine that has little more than torch."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import MarginalStage

if TYPE_CHECKING:
    from pathlib import Path

# what scripts/gpu_wheels.sh does not bring, and the packages that only these need
ABSENT = (
    "napari", "npe2", "vispy", "magicgui", "superqt", "psygnal", "pyqtgraph", "qtpy", "PyQt6",
    "PySide6", "healpy", "astropy", "numba", "gemmi", "pyarrow", "matplotlib",
)  # fmt: skip

WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from napari_cryospin.cli import main
main()
"""


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line where the packages are absent."""
    script = WITHOUT.format(absent=ABSENT)
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True
    )


def test_a_package_that_is_absent_cannot_be_imported() -> None:
    script = WITHOUT.format(absent=ABSENT).replace("from napari_cryospin.cli", "import healpy #")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "No module named 'healpy'" in result.stderr


def test_default_runs_and_is_evaluated_without_napari_and_healpy(
    small_stack: Path, tmp_path: Path
) -> None:
    settings = Settings.from_preset("default")
    settings.threads, settings.starts, settings.data.box = 1, 1, 32
    settings.data.stack = small_stack / "particles.star"
    settings.data.max_particles = 40
    for stage in settings.stages:
        stage.epochs = 1
        if isinstance(stage, MarginalStage):
            stage.nside = 2
    (tmp_path / "settings.toml").write_text(settings.to_toml())
    run = command(
        "reconstruct", "--settings", tmp_path / "settings.toml", "--out", tmp_path / "run"
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "run" / "map.mrc").exists()
    found = command(
        "evaluate",
        tmp_path / "run",
        "--truth-star",
        small_stack / "truth.star",
        "--truth-map",
        small_stack / "truth.mrc",
        "--json",
    )
    assert found.returncode == 0, found.stdout + found.stderr
