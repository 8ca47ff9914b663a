"""The demo: a small stack of a made-up molecule, and the settings that reconstruct it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cryospin.engine.data.simulated_names import TABLE, TRUE_MAP, TRUE_TABLE
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

N_PARTICLES = 2500
BOX, PIXEL_SIZE, SNR, JUNK = 32, 4.0, 2.0, 0.1


def simulate_demo(
    folder: Path, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> None:
    """Simulate the demo's particle stack with its truth into a folder.

    It is a realistic one: off-centre, with coloured noise, neighbours and a tenth of junk.
    """
    from napari_cryospin.engine.data.molecule import procedural_molecule
    from napari_cryospin.engine.data.nuisances import REALISTIC
    from napari_cryospin.engine.simulate import simulate

    simulate(
        procedural_molecule(BOX, PIXEL_SIZE),
        folder,
        n_particles=N_PARTICLES,
        pixel_size=PIXEL_SIZE,
        snr=SNR,
        seed=seed,
        nuisances=replace(REALISTIC, junk=JUNK),
        progress=progress,
    )


def demo_settings(folder: Path, seed: int = 0) -> Settings:
    """Return the settings of a run on the demo's stack in a folder, with its truth."""
    settings = Settings.from_preset("quick")
    settings.seed = seed
    settings.data.stack = folder / TABLE
    settings.data.truth_star = folder / TRUE_TABLE
    settings.data.truth_map = folder / TRUE_MAP
    return settings


def new_demo_folder() -> Path:
    """Return a name for a new demo's folder, in the present folder."""
    return Path.cwd() / f"demo-run-{datetime.now():%Y%m%d-%H%M%S}"
