"""The map from the statistics of posteriors: in closed form or by gradient steps, with a prior."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from napari_cryospin.engine.geometry.fourier import (
    hartley_grid_from_map,
    map_from_hartley_grid,
    move_grid,
)
from napari_cryospin.engine.models.backprojection import without_window
from napari_cryospin.engine.models.volume import frequency_radius

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.models.noise import NoiseSpectrum

# what keeps voxels without any weight at zero, as a share of the largest mean weight of a shell
_FLOOR = 1e-3
# a shell's signal is never taken for less than this, in units of the noise
_LEAST_SIGNAL = 1e-4
# step and momentum of the gradient steps, per shell in units of its mean weight
_STEP, _MOMENTUM = 0.3, 0.7
_PROJECTIONS = 30

Update = Literal["closed form", "gradient"]
Prior = Literal["shells", "non-negative", "none"]


class MapUpdate:
    """Keeps the statistics of the last batches, and makes the map of them.

    Parameters
    ----------
    box
        Side D of the map.
    amplitude
        Expected amplitude of the map's coefficients at radius 0, 1, …, (≥ D/2,).
    update
        "closed form" solves for the map (the M-step of expectation maximisation); "gradient" takes
        a step with momentum towards it.
    prior
        "shells": Gaussian, with a variance for each shell that is estimated along the way;
        "non-negative": densities of at least 0, exponentially distributed; or "none".
    memory
        Batches that the statistics stand for.
    device
        Where it lives.
    """

    def __init__(
        self,
        box: int,
        amplitude: Tensor,
        *,
        update: Update = "closed form",
        prior: Prior = "shells",
        memory: float = 2.0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.update, self.prior, self.memory = update, prior, memory
        radius = frequency_radius(box)
        self._radius = radius.to(device)
        self._count = torch.bincount(self._radius.flatten()).clamp(min=1)
        places = torch.arange(len(self._count)).clamp(max=len(amplitude) - 1)
        self.signal = 2 * amplitude[places].square().to(device)
        side = box + 1
        self.total = torch.zeros(2, side, side, side, device=device)
        self.raw = torch.zeros(side, side, side, device=device)
        self._velocity = torch.zeros_like(self.raw)

    def __call__(self, inserted: Tensor, noise: NoiseSpectrum) -> Tensor:
        """Take in the statistics of a batch and return the Hartley grid (D+1)³.

        Parameters
        ----------
        inserted
            Sums of CTF·image and of CTF², (2, D+1, D+1, D+1).
        noise
            Noise of the images.
        """
        self.total = (1 - 1 / max(self.memory, 1.0)) * self.total + inserted
        signal, weight = self.total
        mean, variance, regular, floor = self._terms(noise)
        damping = (regular + floor)[self._radius]
        if self.update == "closed form":
            self.raw = signal / (weight + damping)
        else:
            gradient = (weight + damping) * self.raw - signal
            step = gradient / (mean + regular + floor)[self._radius]
            self._velocity = _MOMENTUM * self._velocity - _STEP * step
            self.raw = self.raw + self._velocity
        grid = without_window(self.raw)
        if self.prior == "shells":
            # what is expected of the signal: what was found, and what is still unknown of it
            unknown = variance[self._radius] / (weight + damping)
            found = self._shell_mean(grid.square() + unknown)
            self.signal = torch.where(mean > 0, found, self.signal).clamp(min=_LEAST_SIGNAL)
        elif self.prior == "non-negative":
            grid = non_negative(grid, weight / variance[self._radius])
        return grid

    def weights(self, noise: NoiseSpectrum) -> Tensor:
        """Return what the sums of CTF·image are divided by, (D+1)³, as of now."""
        _, _, regular, floor = self._terms(noise)
        weights: Tensor = self.total[1] + (regular + floor)[self._radius]
        return weights

    def _terms(self, noise: NoiseSpectrum) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mean weight, variance of the noise, weight of the prior by shell; and a floor."""
        mean = self._shell_mean(self.total[1])
        places = torch.arange(len(mean), device=mean.device)
        variance = noise.variance[places.clamp(max=len(noise.variance) - 1)]
        shells = self.prior == "shells"
        regular = variance / self.signal if shells else torch.zeros_like(mean)
        return mean, variance, regular, _FLOOR * mean.max()

    def go_on_from(self, before: MapUpdate) -> None:
        """Take over what another update has learned of the signal, and its map."""
        self.signal, self.raw = before.signal, before.raw

    def move(self, shift: Tensor) -> None:
        """Move all that is known of the map by a shift (x, y, z), voxels."""
        signal, weight = self.total
        self.total = torch.stack((move_grid(signal, shift), weight))
        self.raw, self._velocity = (move_grid(each, shift) for each in (self.raw, self._velocity))

    def _shell_mean(self, values: Tensor) -> Tensor:
        return torch.bincount(self._radius.flatten(), values.flatten()) / self._count

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        names = ("signal", "total", "raw", "_velocity", "memory")
        return {name: getattr(self, name) for name in names}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        vars(self).update(state)


def non_negative(grid: Tensor, weight: Tensor) -> Tensor:
    """Return the grid of the most probable map without negative densities.

    The densities are exponentially distributed around the mean of the positive ones; the map is
    found by accelerated projected gradient steps.

    Parameters
    ----------
    grid
        Hartley grid (D+1)³ of the most likely map.
    weight
        Its precision, (D+1)³.
    """
    box = grid.shape[-1] - 1
    target = map_from_hartley_grid(grid)
    precision = weight / weight.max()
    rate = _prior_rate(target) / weight.max()
    volume = previous = target.clamp(min=0)
    for step in range(_PROJECTIONS):
        ahead = volume + step / (step + 3) * (volume - previous)
        # the transform of a map is unitary but for the factor √D
        pull = map_from_hartley_grid(precision * hartley_grid_from_map(ahead - target))
        previous, volume = volume, (ahead - pull - rate / box).clamp(min=0)
    return hartley_grid_from_map(volume)


def _prior_rate(volume: Tensor) -> Tensor:
    positive = volume.clamp(min=0)
    return 1 / positive.mean().clamp(min=1e-12)
