"""The paper's encoder: shared convolutions, and M heads that each propose a pose."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import rotation_from_6d
from napari_cryospin.engine.models.encoders.interface import Encoder

if TYPE_CHECKING:
    from torch import Tensor

_BLOCK_WIDTHS = (1, 2, 4, 4, 4)
_PYRAMID_OCTAVES = 4
_HIDDEN_WIDTHS = (8, 4)


class VggEncoder(Encoder):
    """VGG16-style encoder with a Gaussian pyramid and M pose heads (cryoSPIN, section 3.2).

    Channels are standardised, and the hidden layers of the heads normalised over the batch: without
    this the heads of a new encoder say nearly the same pose of every image.

    Parameters
    ----------
    box
        Side of the images, pixels, at least 32 (each of five blocks halves it).
    heads
        Number of heads M.
    width
        Channels of the first block; the blocks have 1, 2, 4, 4, 4 times as many, the two hidden
        layers of a head 8 and 4 times. The paper's encoder has 64.
    shifts
        Whether the heads give in-plane shifts as well.
    """

    def __init__(self, box: int, heads: int, width: int, *, shifts: bool) -> None:
        super().__init__(box, heads, turns=1)
        self.gives_shifts = shifts
        self.register_buffer("pyramid", _pyramid_filters(box), persistent=False)
        blocks: list[nn.Module] = [nn.BatchNorm2d(1 + _PYRAMID_OCTAVES, affine=False)]
        channels = 1 + _PYRAMID_OCTAVES
        for factor in _BLOCK_WIDTHS:
            blocks += _block(channels, factor * width)
            channels = factor * width
        self.features = nn.Sequential(*blocks, nn.Flatten())
        side = box // 2 ** len(_BLOCK_WIDTHS)
        sizes = [channels * side**2, *(factor * width for factor in _HIDDEN_WIDTHS)]
        hidden: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layer = HeadwiseLinear(heads, inputs, outputs)
            hidden += [layer, nn.ReLU(), HeadwiseNorm(heads, outputs)]
        self.head_layers = nn.Sequential(
            *hidden, HeadwiseLinear(heads, sizes[-1], 8 if shifts else 6)
        )

    pyramid: Tensor

    def look(self, images: Tensor, ctf: Tensor) -> Tensor:
        """Return images with four low-passed copies of each, (n, 5, D, D); heads find the shift."""
        spectrum = torch.fft.rfft2(images)[:, None] * self.pyramid
        low_passed = torch.fft.irfft2(spectrum, s=(self.box, self.box))
        channels = torch.cat((images[:, None], low_passed), 1)
        seen: Tensor = channels.contiguous(memory_format=torch.channels_last)
        return seen

    def forward(self, seen: Tensor, turn: Tensor | None = None) -> Poses:
        """Return candidate poses, (n, M): there is one turn."""
        with torch.autocast(seen.device.type, torch.bfloat16, enabled=fast_bfloat16(seen.device)):
            features = self.features(seen)
        output = self.head_layers(features.float()[None]).transpose(0, 1)
        rotations = rotation_from_6d(output[..., :6])
        if not self.gives_shifts:
            return Poses.centred(rotations)
        # one tenth of the box at most: tanh keeps an untrained head inside the image
        return Poses(rotations, 0.1 * self.box * torch.tanh(output[..., 6:]))


class HeadwiseLinear(nn.Module):
    """M linear layers side by side: (1 or M, n, inputs) → (M, n, outputs)."""

    def __init__(self, heads: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(heads, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(heads, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each head's layer to its own input."""
        return x @ self.weight + self.bias


class HeadwiseNorm(nn.Module):
    """Batch normalisation of the outputs of M layers side by side, (M, n, outputs)."""

    def __init__(self, heads: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(heads * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each output of each head over the batch."""
        flat = self.norm(x.transpose(0, 1).flatten(1))
        normalised: Tensor = flat.unflatten(1, (len(x), -1)).transpose(0, 1)
        return normalised


def default_width(box: int, device: torch.device) -> int:
    """Return the width that suits a box and a device: the paper's on a GPU, less on a CPU."""
    if device.type != "cpu":
        return 64 if box > 64 else 32
    return 16 if box <= 48 else 24


def fast_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 convolutions are faster than float32 ones on a device."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)]
        layers.append(nn.ReLU(inplace=True))
    return [*layers, nn.MaxPool2d(2)]


def _pyramid_filters(box: int) -> Tensor:
    """Return the transfer functions of Gaussians of 1, 2, 4, 8 pixels, (4, D, D//2+1)."""
    sigma = 2.0 ** torch.arange(_PYRAMID_OCTAVES)[:, None, None]
    squared = torch.fft.fftfreq(box)[:, None] ** 2 + torch.fft.rfftfreq(box) ** 2
    return torch.exp(-2 * (math.pi * sigma) ** 2 * squared)
