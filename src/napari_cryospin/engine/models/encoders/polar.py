"""An encoder of polar Fourier rings, which sees an image at all its in-plane turns."""

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

# side of the image that the rings are read from, pixels: the largest ring is far inside
_SIDE = 32
# radius of the largest ring, in units of 1/box, and angles of each; half of them are free
_RINGS, ANGLES = 10, 32
_HIDDEN_LAYERS = 3


class PolarEncoder(Encoder):
    """A small network on rings of an image's Fourier transform.

    To turn an image in its plane is to move its rings along themselves: the network is asked at S
    turns, and what it says is turned back. Coefficients are multiplied by the CTF, each ring then
    scaled to unit power. Images are centred by a phase, so the heads give no shifts.

    Parameters
    ----------
    box, heads, turns
        As for every encoder; ``turns`` divides 32.
    width
        Units of each of three hidden layers.
    """

    gives_shifts = False

    def __init__(self, box: int, heads: int, turns: int, width: int) -> None:
        super().__init__(box, heads, turns)
        self.register_buffer("frequencies", _ring_frequencies(), persistent=False)
        self.register_buffer("waves", _waves(self.frequencies), persistent=False)
        self.register_buffer("turned_back", _turned_back(turns), persistent=False)
        sizes = [2 * len(self.frequencies), *[width] * _HIDDEN_LAYERS]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
        self.network = nn.Sequential(*layers, nn.Linear(width, 6 * heads))

    waves: Tensor
    turned_back: Tensor

    @torch.no_grad()
    def look(self, images: Tensor, ctf: Tensor) -> Tensor:
        """Return the rings, complex, (n, R, 16): half of each, from which the rest follows."""
        small = _cropped(images).flatten(1)
        real, imaginary = (small @ self.waves).chunk(2, 1)
        rings = (torch.complex(real, imaginary) * ctf).unflatten(1, (_RINGS, ANGLES // 2))
        power = rings.abs().square().mean(2, keepdim=True)
        seen: Tensor = rings / power.sqrt().clamp(min=torch.finfo(torch.float32).tiny)
        return seen

    @torch.no_grad()
    def centred(self, seen: Tensor, origins: Tensor) -> Tensor:
        """Return the rings of moved images: a shift is a phase."""
        phase = -2 * math.pi / self.box * (origins @ self.frequencies.T)
        moved: Tensor = seen * torch.polar(torch.ones_like(phase), phase).view_as(seen)
        return moved

    def forward(self, seen: Tensor, turn: Tensor | None = None) -> Poses:
        """Return candidate poses, centred."""
        whole = torch.cat((seen, seen.conj_physical()), 2)
        n, step = len(seen), ANGLES // self.turns
        places = torch.arange(ANGLES // 2, device=seen.device)
        if turn is None:
            asked = torch.arange(self.turns, device=seen.device)
            places = (places + step * asked[:, None]) % ANGLES
            # (n, R, S, 16) → (n · S, R, 16)
            turned = whole[:, :, places].transpose(1, 2).flatten(0, 1)
            proposed = self._proposed(turned).unflatten(0, (n, self.turns))
            back = self.turned_back[:, None] @ proposed
            return Poses.centred(back.transpose(1, 2).flatten(1, 2))
        places = (places + step * turn[:, None]) % ANGLES
        turned = whole.gather(2, places[:, None].expand(-1, _RINGS, -1))
        return Poses.centred(self.turned_back[turn][:, None] @ self._proposed(turned))

    def _proposed(self, rings: Tensor) -> Tensor:
        """Return the poses of each head, (n, M, 3, 3)."""
        output = self.network(torch.view_as_real(rings).flatten(1))
        return rotation_from_6d(output.unflatten(1, (self.heads, 6)))


def _cropped(images: Tensor) -> Tensor:
    """Return images (n, D, D) as they are seen with fewer pixels, (n, 32, 32)."""
    box = images.shape[-1]
    if box <= _SIDE:
        return images
    spectrum = torch.fft.rfft2(images, norm="ortho")
    half = _SIDE // 2
    kept = torch.cat((spectrum[:, :half], spectrum[:, -half:]), 1)[..., : half + 1]
    small: Tensor = torch.fft.irfft2(kept, s=(_SIDE, _SIDE), norm="ortho")
    return small


def _ring_frequencies() -> Tensor:
    """Return the frequencies of half of every ring, (R · 16, 2)."""
    radius = torch.arange(1, _RINGS + 1, dtype=torch.float32)[:, None]
    angle = 2 * math.pi / ANGLES * torch.arange(ANGLES // 2)
    return torch.stack((radius * angle.cos(), radius * angle.sin()), -1).flatten(0, 1)


def _waves(frequencies: Tensor) -> Tensor:
    """Return what images (n, 1024) are multiplied with for their transform, (1024, 2 P)."""
    line = torch.arange(_SIDE) - _SIDE // 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    pixels = torch.stack((x.flatten(), y.flatten()), 1).float()
    phase = 2 * math.pi / _SIDE * (pixels @ frequencies.T)
    return torch.cat((phase.cos(), -phase.sin()), 1) / _SIDE


def _turned_back(turns: int) -> Tensor:
    """Return what turns poses of images turned by each of S steps back, (S, 3, 3)."""
    angle = 2 * math.pi / turns * torch.arange(turns)
    turned = torch.zeros(turns, 3, 3)
    turned[:, 0, 0] = turned[:, 1, 1] = angle.cos()
    turned[:, 1, 0], turned[:, 0, 1] = angle.sin(), -angle.sin()
    turned[:, 2, 2] = 1
    return turned
