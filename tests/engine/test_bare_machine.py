"""The engine and its commands on a machine that has little more than torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import MarginalStage

if TYPE_CHECKING:
    from pathlib import Path

# what the extras bring and scripts/gpu_wheels.sh does not, and the packages that only these need
ABSENT = (
    "napari", "npe2", "vispy", "magicgui", "superqt", "psygnal", "pyqtgraph", "qtpy", "PyQt6",
    "PySide6", "healpy", "astropy_healpix", "astropy", "numba", "llvmlite", "dask", "pint", "PIL",
    "gemmi", "matplotlib",
)  # fmt: skip

# a module that is None is one that Python does not find
WITHOUT = """
import json, sys
sys.modules.update(dict.fromkeys({absent!r}))
from typer.testing import CliRunner
from napari_cryospin.cli.app import app
for words in json.load(sys.stdin):
    result = CliRunner().invoke(app, words)
    print(json.dumps([result.exit_code, result.stdout, result.stderr]))
"""


def answers(*commands: list[Any]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of commands of one process in which the packages are absent."""
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(absent=ABSENT)],
        input=json.dumps([[str(word) for word in words] for words in commands]),
        env=os.environ | {"DISPLAY": ":0"},  # as if there were a screen
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found = [tuple(json.loads(line)) for line in result.stdout.splitlines()]
    assert len(found) == len(commands)
    return found


def test_default_runs_and_is_judged_without_napari_and_healpy(
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
    run, picture = tmp_path / "run", tmp_path / "posterior.png"
    truth = ["--truth-star", small_stack / "truth.star", "--truth-map", small_stack / "truth.mrc"]
    *worked, drawn, window = answers(
        ["reconstruct", "--settings", tmp_path / "settings.toml", "--out", run],
        ["evaluate", run, *truth, "--json"],
        ["posterior", run, "--particle", 3, "--nside", 2, "--depth", 4, "--json"],
        ["posterior", run, "--particle", 3, "--png", picture],
        [],
    )
    for code, output, errors in worked:
        assert code == 0, output + errors
    assert (run / "map.mrc").exists()
    assert json.loads(worked[1][1])["median_pose_error_deg"] > 0
    assert len(json.loads(worked[2][1])["view_directions"]) == 48
    # what needs the viewer says what to install, before it does anything
    for code, output, errors in (drawn, window):
        assert (code, output) == (2, "")
        assert errors.startswith("Error: The window and its pictures need napari, which is not")
        assert 'pip install "napari-cryospin[all]"' in errors
        assert len(errors.splitlines()) == 1
    assert not picture.exists()
