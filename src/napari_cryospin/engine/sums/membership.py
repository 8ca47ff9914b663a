"""Which images show the particle: what a map explains of each, against what anything else would.

A stack holds images of noise, of edges, of lumps and of heaps of particles. An image that shows
the particle is explained by the map; one that does not is explained as well or better by nothing
but a power spectrum of its own, whether it is weaker or much stronger than a particle's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.kernels import slicer
from napari_cryospin.engine.models.noise import shells_of

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.sums.quadrature import Quadrature

# what a map can gain is never taken for less, nats
_LEAST_GAIN = 1.0
# the two humps: numbers that tell them, at least and at most, steps, and the shares that they begin
# with
FEWEST, _MOST, _STEPS, _SHARES = 100, 20_000, 60, (0.9, 0.7, 0.5)
# outliers vary so many times more than particles at least, in score and in scale; and they score
# worse by so many widths
_WIDER, _BELOW = (1.5, 2.0), 1.5
# widths of the logarithms of scales are at least so much, of particles and of outliers
_CONTRAST = (0.15, 0.3)
# a score of so much speaks for a particle whatever others score, e to one
_SPEAKS = 0.1
_TINY = 1e-6


@dataclass(frozen=True)
class _Hump:
    """A normal distribution of score and logarithm of scale: means and widths, (2,) each."""

    middle: Tensor
    width: Tensor

    def log_p(self, values: Tensor) -> Tensor:
        """Return the log-probabilities of values (m, 2), but for a constant, (m, 2)."""
        return -self.width.log() - 0.5 * ((values - self.middle) / self.width).square()


class Members:
    """Tells who belongs to the map: particles are one hump, and outliers another.

    Particles score alike, and are of about the same contrast. Outliers are of many kinds: a broad
    normal distribution that lies below theirs stands for all of them.

    Attributes
    ----------
    humps
        Means and widths of the particles, means and widths of the outliers, (4, 2), and the share
        of the particles, twice, below them; None before any were seen: all belong.
    """

    def __init__(self) -> None:
        self.humps: Tensor | None = None

    def learn(self, scores: Tensor, scales: Tensor) -> None:
        """Find the humps of scores and scales, (m,) each; too few of them change nothing."""
        if len(scores) >= FEWEST:
            some = slice(None, None, math.ceil(len(scores) / _MOST))
            # many small steps on few numbers
            self.humps = _two_humps(_compared(scores[some], scales[some]).cpu())

    def of(self, scores: Tensor, scales: Tensor) -> Tensor:
        """Return the probabilities that images show the particle, (b,), by scores and scales."""
        if self.humps is None:
            return torch.ones_like(scores)
        values = _compared(scores, scales)
        # what scores better than particles do is no outlier
        humps = self.humps.to(values).clone()
        values[:, 0] = torch.minimum(values[:, 0], humps[0, 0])
        # particles differ in contrast, more than those that are alike by chance
        humps[(1, 3), 1] = torch.maximum(humps[(1, 3), 1], values.new_tensor(_CONTRAST))
        by_score, by_scale = _odds(values, humps)
        by_score = torch.maximum(by_score, scores.double() / _SPEAKS)
        found: Tensor = torch.sigmoid(by_score + by_scale).float()
        return found

    def state(self) -> Any:
        """Return what a checkpoint needs."""
        return self.humps

    def load_state(self, state: Any) -> None:
        """Restore :meth:`state`."""
        self.humps = state


@dataclass(frozen=True)
class Outliers:
    """Scores images by what the map explains of them, and weighs them by it.

    Parameters
    ----------
    members
        Tells memberships by scores.
    shells
        1 where a coefficient is of a shell, (k, S), for those that poses are judged by.
    precision
        One over the variance of the noise, (k,).
    signal
        Mean power of each map's slices over the noise's variance, (C, k).
    independent
        Share of the coefficients that are independent: the mask's mean square.
    """

    members: Members
    shells: Tensor
    precision: Tensor
    signal: Tensor
    independent: float

    @classmethod
    def of(
        cls,
        members: Members,
        quadrature: Quadrature,
        grids: Tensor,
        variance: Tensor,
        mask_power: float,
    ) -> Outliers:
        """Return what scores images against a map.

        Parameters
        ----------
        members
            Tells memberships by scores.
        quadrature
            Poses and frequencies.
        grids
            Hartley grids of the maps, (C, D+1, D+1, D+1), or of the only one, (D+1)³.
        variance
            Variance of the noise at every frequency, (K,).
        mask_power
            Mean square of the particles' mask.
        """
        used, model = quadrature.n_used, quadrature.model
        shells = torch.nn.functional.one_hot(shells_of(model)[:used]).to(variance)
        some = quadrature.rotations[:: max(1, len(quadrature.rotations) // _SLICES)]
        power = torch.stack(
            [
                slicer(grid).slices(some, model.frequencies[:used]).square().mean(0)
                for grid in grids.reshape(-1, *grids.shape[-3:])
            ]
        )
        by_shell = (power @ shells) / shells.sum(0).clamp(min=1)
        precision = 1 / variance[:used]
        return cls(members, shells, precision, (by_shell @ shells.T) * precision, mask_power)

    def scores(self, images: Observed, log_evidence: Tensor, classes: Tensor) -> Tensor:
        """Return how images score, (b,): what the map gains over what it should gain.

        The gain is the log-evidence of the map less that of noise whose variance is the image's own
        in every shell. Should the image show the particle, that is some ``½ Σ log(1 + SNR)``.

        Parameters
        ----------
        images
            The images.
        log_evidence
            Log of their mean likelihood over poses, beside that without a map, (b,).
        classes
            Probabilities of the maps, (b, C).
        """
        used = len(self.precision)
        own = (images.coefficients[:, :used].square() * self.precision) @ self.shells
        expected = (images.ctf[:, :used].square() * (classes @ self.signal)) @ self.shells
        size = self.independent * self.shells.sum(0).clamp(min=_TINY)
        counted = size > _TINY
        spectrum = torch.where(counted, size * ((own / size).clamp(min=_TINY).log() + 1), 0)
        should = torch.where(counted, size * torch.log1p(expected / size), 0)
        gain = log_evidence + 0.5 * (spectrum - own).sum(1)
        return gain / (0.5 * should.sum(1)).clamp(min=_LEAST_GAIN)


# slices that tell the power of a map
_SLICES = 200


def _compared(scores: Tensor, scales: Tensor) -> Tensor:
    """Return scores, of which it does not matter how far they lie below −1, and log-scales."""
    far = torch.where(scores < -1, -1 - torch.log(-scores.clamp(max=-1)), scores)
    return torch.stack((far, scales.clamp(min=_TINY).log()), 1).double()


def _odds(values: Tensor, humps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-odds of the particles' hump by score, with its share, and by scale, (m,)."""
    one, other, share = _Hump(*humps[:2]), _Hump(*humps[2:4]), humps[4, 0]
    by_score, by_scale = (one.log_p(values) - other.log_p(values)).unbind(1)
    return by_score + share.log() - torch.log1p(-share), by_scale


def _two_humps(values: Tensor) -> Tensor:
    """Return the humps that describe values (m, 2) best, as :attr:`Members.humps`."""
    best, found = -math.inf, values.new_zeros(5, 2)
    for share in _SHARES:
        above = values[:, 0] > values[:, 0].quantile(1 - share)
        humps = _fitted(values, above.double())
        for _ in range(_STEPS):
            humps = _fitted(values, torch.sigmoid(torch.stack(_odds(values, humps)).sum(0)))
        one, other, weight = _Hump(*humps[:2]), _Hump(*humps[2:4]), humps[4, 0]
        told = torch.logaddexp(
            weight.log() + one.log_p(values).sum(1),
            torch.log1p(-weight) + other.log_p(values).sum(1),
        )
        if float(told.sum()) > best:
            best, found = float(told.sum()), humps
    return found


def _fitted(values: Tensor, weights: Tensor) -> Tensor:
    """Return the humps that weights (m,) of the particles make of values (m, 2)."""
    (middle, width), (below, broad) = (_moments(values, each) for each in (weights, 1 - weights))
    below = below.clone()
    below[0] = torch.minimum(below[0], middle[0] - _BELOW * width[0])
    broad = torch.maximum(broad, values.new_tensor(_WIDER) * width)
    share = weights.mean().clamp(0.02, 0.998).expand(2)
    return torch.stack((middle, width, below, broad, share))


def _moments(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return weighted means and standard deviations of values (m, 2), (2,) each."""
    shares = weights[:, None] / (weights.sum() + _TINY)
    mean = (shares * values).sum(0)
    width = (shares * (values - mean).square()).sum(0).sqrt()
    return mean, width.clamp(min=1e-3)
