"""Beginning a run with what another one has learned: its encoder and its map."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.density import fit_map, read_map
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.models.encoders.choice import shape_of
from napari_cryospin.engine.models.volume import grid_of_map
from napari_cryospin.engine.run.encoder_file import read_encoder
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.runfolder.class_files import maps_of_classes
from napari_cryospin.engine.runfolder.encoder import SavedEncoder
from napari_cryospin.engine.runfolder.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.models.encoders.choice import Shape
    from napari_cryospin.engine.settings import Settings

# share by which the widths of the images of two runs may differ
_TOLERANCE = 0.02
# words for what must be the same, and where it is set
_WORDS = {
    "kind": ("is '{}'", "model.encoder"),
    "heads": ("has {} heads", "model.heads"),
    "turns": ("is asked at {} turns", "model.turns"),
    "width": ("has a width of {}", "model.encoder_width"),
    "shifts": ("gives shifts: {}", "model.shifts"),
}


def begun(particles: Particles, settings: Settings, notes: list[str], *, anew: bool) -> Training:
    """Return the training of a run; one that begins anew begins warm where the settings say so.

    Parameters
    ----------
    particles, settings
        Of the run.
    notes
        Takes what is to be said of the start.
    anew
        Whether the run begins: one that goes on has its state from a checkpoint.

    Raises
    ------
    InputError
        If the run cannot begin with what the other one has learned.
    """
    training = Training(particles, settings)
    if anew and settings.warm_start is not None:
        notes.append(_begin_warm(training, settings.warm_start))
    return training


def _begin_warm(training: Training, path: Path) -> str:
    """Give a run that begins the encoder and the map of another one; return what was done."""
    particles, settings, folder = training.particles, training.settings, RunFolder(path)
    if not settings.knows("warm_start"):
        raise InputError(
            "A warm start needs an encoder: let the first stage be auto-encoding, or leave it out."
        )
    folder.settings()
    saved = SavedEncoder.read(path)
    _require_same(saved, shape_of(settings.model, particles.box, particles.device), path)
    if saved.kind == "vgg" and saved.box != particles.box:
        raise InputError(
            f"The encoder of {path} has learned from images of {saved.box} px, and these have "
            f"{particles.box}: set data.box to {saved.box}, or leave the warm start out."
        )
    extent = particles.box * particles.pixel_size
    if abs(saved.extent / extent - 1) > _TOLERANCE:
        raise InputError(
            f"The images of {path} are {saved.extent:.0f} Å wide, and these {extent:.0f} Å: a warm "
            "start needs images of the same width."
        )
    maps = folder.maps()
    if not maps:
        raise InputError(f"{path} holds no map yet: wait for its first epoch.")
    # of fewer classes than there are now the others begin at random
    for own, each in zip(training.problem.maps, maps_of_classes(maps[-1]), strict=False):
        volume, pixel_size = read_map(each)
        fitted = torch.from_numpy(fit_map(volume, pixel_size, particles.box, particles.pixel_size))
        # of coarser images the same wave has larger values, and a projection fewer of them
        fitted *= (saved.box / particles.box) ** 2
        own.assign(grid_of_map(fitted).float().to(particles.device))
    _, encoder = read_encoder(folder, particles.device, particles.box)
    training.inference.begin_warm(encoder.state_dict())
    return f"The run begins with the encoder and the map of {path}."


def _require_same(saved: SavedEncoder, wanted: Shape, path: Path) -> None:
    for name, value in asdict(wanted).items():
        had = getattr(saved, name)
        # the heads of the polar encoder give no shifts in any case
        if had == value or (name == "shifts" and wanted.kind == "polar"):
            continue
        words, where = _WORDS[name]
        raise InputError(
            f"The encoder of {path} {words.format(had)}, and that of the settings "
            f"{words.format(value)}: set {where} to {had}, or leave the warm start out."
        )
