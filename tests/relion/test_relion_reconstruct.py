"""RELION itself reads our files and agrees: its reconstruction from our truth is our map."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from napari_cryospin.engine.data.density import read_map
from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.evaluation.fsc import fsc
from napari_cryospin.engine.simulate import simulate

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(not shutil.which("relion_reconstruct"), reason="RELION is not installed"),
]


def relion_map(star: Path) -> NDArray[np.float32]:
    """Run relion_reconstruct with CTF on a star file, in the star file's folder."""
    out = star.with_suffix(".relion.mrc")
    command = ["relion_reconstruct", "--i", star.name, "--o", out.name, "--ctf"]
    subprocess.run(command, cwd=star.parent, check=True, capture_output=True, timeout=300)
    return read_map(out)[0]


def test_relion_gets_the_simulated_map_back(tmp_path: Path) -> None:
    volume = procedural_molecule(64, 3.0)
    simulate(volume, tmp_path, n_particles=1500, pixel_size=3.0, snr=5.0, shift_std=9.0, seed=1)
    curve = fsc(relion_map(tmp_path / "truth.star"), volume)
    assert (curve[: len(curve) // 2 + 1] > 0.9).all()


def test_relion_agrees_with_the_map_of_a_run(found_run: Path) -> None:
    ours, _ = read_map(found_run / "map.mrc")
    curve = fsc(relion_map(found_run / "particles.star"), ours)
    assert (curve[: len(curve) // 2 + 1] > 0.9).all()
