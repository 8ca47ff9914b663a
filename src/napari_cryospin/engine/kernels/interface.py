"""What a set of kernels offers: another device's stands behind the same two classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.geometry.poses import Poses

# products of a pose's rows are 0 and 1 but for so much; what is beyond is no rotation
_ROUNDING = 1e-3


@dataclass(frozen=True)
class PoseFit:
    """How well p poses fit their images, and which way they would fit better.

    The five parameters of a pose are a turn ω by which ``R ← exp([ω]×) R``, radians, and its origin
    shift (x, y), pixels. All is for one coefficient: means over the frequencies in use.

    Parameters
    ----------
    errors
        Error of each, squared or absolute, (p,).
    gradient
        Its derivative by the parameters, at ω = 0, (p, 5).
    normal
        The normal matrix of Gauss and Newton, (p, 5, 5): the second derivative of the squared error
        but for a part that vanishes with it.
    """

    errors: Tensor
    gradient: Tensor
    normal: Tensor


@dataclass(frozen=True)
class PosedImages:
    """Images beside poses of them, p in all.

    Parameters
    ----------
    observed, ctf
        Images, and what multiplies projections, (n, ≥ K): of frequencies in the same order, the
        last of which need not be in use. CTFs are the same at k and −k.
    poses
        Their poses, (p,).
    frequencies
        The disk in use, (K, 2), as :func:`~.geometry.fourier.disk` gives it.
    numbers
        The image of every pose, (p,); None: one pose for each.
    """

    observed: Tensor
    ctf: Tensor
    poses: Poses
    frequencies: Tensor
    numbers: Tensor | None = None


class Slicer(ABC):
    """A map whose slices are read: by themselves, or compared with images at once.

    All methods raise ValueError where a pose is no rotation or no number, or a frequency lies
    beyond Nyquist.
    """

    @abstractmethod
    def slices(self, rotations: Tensor, frequencies: Tensor) -> Tensor:
        """Return slices of the map, (p, K), at Euler matrices (p, 3, 3) and frequencies (K, 2)."""

    def at(self, poses: Poses, frequencies: Tensor) -> Tensor:
        """Return slices, (p, K), at poses (p,), whose shifts are not heeded."""
        return self.slices(poses.rotations, frequencies)

    @abstractmethod
    def fit(self, images: PosedImages, *, absolute: bool = False) -> PoseFit:
        """Return error, gradient and normal matrix of poses."""

    @abstractmethod
    def errors(self, images: PosedImages, *, absolute: bool = False) -> tuple[Tensor, Tensor]:
        """Return mean errors of poses, (p,), and the sum over all poses of squares, (K,)."""


class Inserter(ABC):
    """Hartley grids that slices are added to: the transpose of reading them."""

    @abstractmethod
    def add(self, values: Tensor, weights: Tensor, rotations: Tensor, frequencies: Tensor) -> None:
        """Add slices (p, K) and their weights, the same at k and −k, (p, K)."""

    @abstractmethod
    def add_images(self, images: PosedImages) -> None:
        """Add images, one for each pose, centred first: CTF · image, with CTF² as weights."""

    @abstractmethod
    def total(self) -> Tensor:
        """Return the sums of values and of weights so far, (2, D+1, D+1, D+1)."""

    @abstractmethod
    def state(self) -> Tensor:
        """Return the sums as they are kept, from which adding goes on to the last bit."""

    @abstractmethod
    def load_state(self, state: Tensor) -> None:
        """Restore :meth:`state`, which may be that of another set of kernels."""


def total_of(state: Tensor) -> Tensor:
    """Return the sums of values and weights, (2, D+1, D+1, D+1), of the state of any kernels.

    It is just that, or the grids of several threads (T, D+1, D+1, D+1, 4) that hold a pair of
    values and a weight, of which the second value belongs to −k.
    """
    if state.dim() == 4:
        return state
    first, second, weight, _ = state.sum(0).unbind(-1)
    other = (-3, -2, -1)
    return torch.stack((first + second.flip(other), weight + weight.flip(other)))


def require_readable(poses: Poses, frequencies: Tensor, side: int) -> None:
    """Raise ValueError where poses (p,) are no rotations, or their shifts no numbers.

    And where frequencies (K, 2) are not all within a grid of a side of voxels.
    """
    # of unit length and across each other: else k·A may lie outside of the map
    rows = poses.rotations[:, :2]
    off = (rows @ rows.mT - torch.eye(2, dtype=rows.dtype, device=rows.device)).abs()
    sound = (off < _ROUNDING).all() & poses.shifts.isfinite().all()
    # NaN is in no interval
    if not bool(sound):
        raise ValueError("A pose has become no rotation, or its shift no number.")
    if float(frequencies.square().sum(1).max()) > ((side - 1) / 2 - 1) ** 2 + _ROUNDING:
        raise ValueError("Frequencies beyond Nyquist have no place in the map.")
