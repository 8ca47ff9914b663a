"""The encoder that the settings of a run name, and what it needs of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_cryospin.engine.models.encoders.polar import PolarEncoder
from napari_cryospin.engine.models.encoders.vgg import VggEncoder, default_width

if TYPE_CHECKING:
    import torch

    from napari_cryospin.engine.models.encoders.interface import Encoder
    from napari_cryospin.engine.settings import ModelSettings

_POLAR_WIDTH = 192
# numbers of an activation of the convolutions: before and after normalisation, gradient, pooling
_ACTIVATIONS = 6.0
# numbers kept of an image that the polar encoder sees, beside its pixels
_OF_RINGS = 4000


@dataclass(frozen=True)
class Shape:
    """What an encoder is, whatever it has learned: two of the same shape can share weights.

    Parameters
    ----------
    kind, heads, turns, width
        As in the model's settings.
    shifts
        Whether shifts are estimated, which the heads of ``vgg`` then give.
    """

    kind: Literal["polar", "vgg"]
    heads: int
    turns: int
    width: int
    shifts: bool


def shape_of(model: ModelSettings, box: int, device: torch.device) -> Shape:
    """Return the shape of the encoder that settings ask for, as :func:`encoder_of`."""
    turns = model.turns if model.encoder == "polar" else 1
    return Shape(model.encoder, model.heads, turns, _width(model, box, device), model.shifts)


def made(shape: Shape, box: int) -> Encoder:
    """Return a new encoder of a shape, for images of a box; on the CPU, drawn as all are."""
    if shape.kind == "polar":
        return PolarEncoder(box, shape.heads, shape.turns, shape.width)
    return VggEncoder(box, shape.heads, shape.width, shifts=shape.shifts)


def encoder_of(model: ModelSettings, box: int, device: torch.device) -> Encoder:
    """Return a new encoder, on the CPU; its weights are drawn from torch's generator.

    Parameters
    ----------
    model
        Model settings of the run.
    box
        Side of the images, pixels.
    device
        Where it will be used.
    """
    return made(shape_of(model, box, device), box)


def numbers_needed(model: ModelSettings, box: int, device: torch.device, batch: int) -> float:
    """Return how many numbers an encoder holds, with a batch of images that it learns from."""
    width = _width(model, box, device)
    if model.encoder == "polar":
        weights = 320 * width + 2 * width**2 + 6 * model.heads * width
        learning: float = batch * (3 * 4 * width + _OF_RINGS)
        return 4 * weights + model.turns * learning
    # channels times pixels of the five blocks, in units of width · box²
    share = 1 + 2 / 4 + 4 / 16 + 4 / 64 + 4 / 256
    activations = batch * box**2 * width * share * _ACTIVATIONS
    inputs = 4 * width * (box // 32) ** 2
    heads = model.heads * (inputs * 8 * width + 32 * width**2)
    convolutions = 9 * width**2 * (1 + 2 + 4 + 8 + 16 + 16 * 3)
    # weights, gradients and the optimiser's two moments
    return activations + 4 * (heads + convolutions)


def _width(model: ModelSettings, box: int, device: torch.device) -> int:
    if model.encoder_width is not None:
        return model.encoder_width
    return _POLAR_WIDTH if model.encoder == "polar" else default_width(box, device)
