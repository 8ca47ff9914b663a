"""Experiments so small that a cell takes a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cryospin.engine.experiments.plan import Experiment

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    "data.box": 32,
    "device": "cpu",
    "model.heads": 2,
    "model.encoder_width": 8,
    "model.loss": "squared",
    "direct.epochs": 1,
    "direct.pose_steps": 1,
}


def small_plan(folder: Path, settings: dict[str, Any] | None = None, **lists: Any) -> Experiment:
    """Return an experiment on a simulated stack, in its folder, with the truth.

    Parameters
    ----------
    folder
        Folder of the stack.
    settings
        Settings beside those that make it small.
    lists
        What it varies.
    """
    given = {
        "stack": folder / "particles.star",
        "truth_star": folder / "truth.star",
        "truth_map": folder / "truth.mrc",
        "preset": "paper-synthetic",
        "switch_at": [1, 2],
    }
    return Experiment.of(**{**given, **lists}, settings=SMALL | (settings or {}))
