"""The demo without a window: simulate, reconstruct, compare with the truth."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from napari_cryospin.cli.report import print_evaluation
from napari_cryospin.cli.run import follow
from napari_cryospin.cli.signals import cleaned_up
from napari_cryospin.engine.data.simulated_names import TRUE_MAP, TRUE_TABLE
from napari_cryospin.engine.evaluation.report import evaluate
from napari_cryospin.engine.run.demo import demo_settings, simulate_demo
from napari_cryospin.engine.run.reconstruction import Reconstruction

if TYPE_CHECKING:
    from pathlib import Path


def run_demo(folder: Path, seed: int) -> int:
    """Run the demo in a folder and return the exit code."""
    started = time.monotonic()
    typer.echo(f"Simulating particles into {folder}")
    with cleaned_up():
        simulate_demo(folder, seed)
    run = Reconstruction(demo_settings(folder, seed), folder / "run")
    code = follow(run)
    if code == 0:
        star, volume = run.folder.star_path, run.folder.map_path
        found = evaluate(star, volume, folder / TRUE_TABLE, folder / TRUE_MAP)
        print_evaluation(found, as_json=False)
        typer.echo(f"seconds                        {time.monotonic() - started:.1f}")
    return code
