"""Judging a finished run once more, from its last checkpoint: nothing is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.run.checkpoint_reading import latest, read_checkpoint
from napari_cryospin.engine.run.class_verdicts import reach_verdicts
from napari_cryospin.engine.run.homes import look_at
from napari_cryospin.engine.run.training import Training

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.runfolder.verdict import Verdict


def training_of(folder: RunFolder) -> Training:
    """Return the state of a run as its last checkpoint holds it, on the CPU.

    Raises
    ------
    InputError
        If the folder holds no checkpoint that can be read, or the particles have gone.
    """
    settings = folder.settings()
    if settings.data.stack is None:
        raise InputError(f"{folder.settings_path} names no particle stack.")
    training = Training(look_at(settings.data), settings)

    def take(path: Path) -> None:
        training.load_state(read_checkpoint(path, torch.device("cpu")))

    latest(folder.checkpoints(), take, none=folder.no_checkpoint)
    return training


def judge_again(folder: RunFolder) -> Verdict:
    """Return what this version says of a run; its folder is left as it is.

    Raises
    ------
    InputError
        As :func:`training_of`.
    """
    return reach_verdicts(training_of(folder))
