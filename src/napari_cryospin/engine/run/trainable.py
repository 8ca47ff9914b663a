"""What settings and a stack must be for a run, and which particles it holds out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.random_streams import stream

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.settings import Settings

# frequency radius that a low-pass filter must leave, in units of 1/box
_LEAST_RADIUS = 2
# particles held out, and the fewest of a stack that has any
_FEWEST_HELD, _MOST_HELD, _FEWEST_PARTICLES = 50, 256, 150


def chosen_held_out(n: int, settings: Settings) -> Tensor:
    """Return which of n particles are held out: a fixed choice, evenly spread at random."""
    held = torch.zeros(n, dtype=torch.bool)
    if settings.held_out == 0 or n < _FEWEST_PARTICLES:
        return held
    number = min(max(round(settings.held_out * n), _FEWEST_HELD), _MOST_HELD)
    chosen = torch.randperm(n, generator=stream(settings.seed, "held out"))[:number]
    held[chosen] = True
    return held


def require_trainable(settings: Settings, box: int, pixel_size: float) -> None:
    """Raise InputError where stages cannot be run on images of a box, of so many Å per pixel."""
    if not sum(stage.epochs for stage in settings.stages):
        raise InputError("The stages have no epochs: give one of them at least one.")
    coarsest = box * pixel_size / _LEAST_RADIUS
    for number, stage in enumerate(settings.stages, 1):
        start, end = stage.low_pass_start, stage.low_pass_end
        if max(start or 0.0, end or 0.0) > coarsest:
            raise InputError(
                f"Stage {number}: its low-pass filter leaves nothing of images of {box} px at "
                f"{pixel_size:.3g} Å; choose {coarsest:.0f} Å or less."
            )
        if start is not None and end is not None and start < end:
            raise InputError(
                f"Stage {number}: its low-pass filter ends at {end:g} Å, coarser than it starts; "
                "start at more Å, or end at fewer."
            )
        if box < stage.least_box:
            raise InputError(
                f"Stage {number}: {stage.inference.label} needs images of {stage.least_box} px, "
                f"these have {box}; remove it."
            )
