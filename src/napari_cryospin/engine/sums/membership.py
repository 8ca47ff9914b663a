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
# the two humps of scores: numbers that tell them, steps, and the shares that they begin with
_FEWEST, _STEPS, _SHARES = 100, 60, (0.9, 0.7, 0.5)
# outliers vary so many times more than particles at least, and lie so many widths of these below
_WIDER, _BELOW = 1.5, 1.5
_TINY = 1e-6


class Members:
    """Tells by their scores who belongs to the map: particles are one hump, and outliers another.

    Particles score alike, give or take their noise. Outliers are of many kinds: a broad normal
    distribution below theirs stands for all of them.

    Attributes
    ----------
    humps
        Share, mean and width of the particles, mean and width of the outliers, (5,); None before
        any scores were seen: all belong.
    """

    def __init__(self) -> None:
        self.humps: Tensor | None = None

    def learn(self, scores: Tensor) -> None:
        """Find the humps of scores, (m,); too few of them change nothing."""
        if len(scores) >= _FEWEST:
            self.humps = _two_humps(_compressed(scores))

    def of(self, scores: Tensor) -> Tensor:
        """Return the probabilities that images with scores (b,) show the particle, (b,)."""
        if self.humps is None:
            return torch.ones_like(scores)
        _, middle, *_ = self.humps
        # what scores better than particles do is no outlier
        values = torch.minimum(_compressed(scores).double(), middle)
        found: Tensor = _belonging(values, self.humps)[0].float()
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
        Mean power of the map's slices over the noise's variance, (k,).
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
        grid: Tensor,
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
        grid
            Hartley grid of the map, (D+1)³.
        variance
            Variance of the noise at every frequency, (K,).
        mask_power
            Mean square of the particles' mask.
        """
        used, model = quadrature.n_used, quadrature.model
        shells = torch.nn.functional.one_hot(shells_of(model)[:used]).to(variance)
        some = quadrature.rotations[:: max(1, len(quadrature.rotations) // _SLICES)]
        power = slicer(grid).slices(some, model.frequencies[:used]).square().mean(0)
        by_shell = (power @ shells) / shells.sum(0).clamp(min=1)
        precision = 1 / variance[:used]
        return cls(members, shells, precision, (shells @ by_shell) * precision, mask_power)

    def scores(self, images: Observed, log_evidence: Tensor) -> Tensor:
        """Return how images score, (b,): what the map gains over what it should gain.

        The gain is the log-evidence of the map less that of noise whose variance is the image's own
        in every shell. Should the image show the particle, that is some ``½ Σ log(1 + SNR)``.

        Parameters
        ----------
        images
            The images.
        log_evidence
            Log of their mean likelihood over poses, beside that without a map, (b,).
        """
        used = len(self.precision)
        own = (images.coefficients[:, :used].square() * self.precision) @ self.shells
        expected = (images.ctf[:, :used].square() * self.signal) @ self.shells
        size = self.independent * self.shells.sum(0).clamp(min=_TINY)
        counted = size > _TINY
        spectrum = torch.where(counted, size * ((own / size).clamp(min=_TINY).log() + 1), 0)
        should = torch.where(counted, size * torch.log1p(expected / size), 0)
        gain = log_evidence + 0.5 * (spectrum - own).sum(1)
        return gain / (0.5 * should.sum(1)).clamp(min=_LEAST_GAIN)


# slices that tell the power of a map
_SLICES = 200


def _compressed(scores: Tensor) -> Tensor:
    """Return scores of which it does not matter how far they lie below −1."""
    return torch.where(scores < -1, -1 - torch.log(-scores.clamp(max=-1)), scores)


def _belonging(values: Tensor, humps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities of the particles' hump, and the log-probabilities of both, (m,)."""
    share, middle, width, below, broad = humps
    one = share.log() - width.log() - 0.5 * ((values - middle) / width).square()
    other = torch.log1p(-share) - broad.log() - 0.5 * ((values - below) / broad).square()
    return torch.sigmoid(one - other), torch.logaddexp(one, other)


def _two_humps(values: Tensor) -> Tensor:
    """Return the humps that describe values (m,) best, as :attr:`Members.humps`."""
    values = values.double()
    best, found = -math.inf, values.new_zeros(5)
    for share in _SHARES:
        edge = values.quantile(1 - share)
        above, under = values[values > edge], values[values <= edge]
        if min(len(above), len(under)) < 2:
            continue
        start = (share, above.median(), above.std(), under.mean(), under.std())
        humps = values.new_tensor([float(each) for each in start]).clamp(min=-1e6)
        humps[2], humps[4] = humps[2].clamp(min=_TINY), humps[4].clamp(min=_TINY)
        for _ in range(_STEPS):
            weights, _ = _belonging(values, humps)
            humps = _refitted(values, weights)
        told = float(_belonging(values, humps)[1].sum())
        if told > best:
            best, found = told, humps
    return found


def _refitted(values: Tensor, weights: Tensor) -> Tensor:
    """Return the humps that weights (m,) of the particles make of values (m,)."""
    others = 1 - weights
    n, rest = weights.sum() + _TINY, others.sum() + _TINY
    middle = (weights * values).sum() / n
    width = ((weights * (values - middle).square()).sum() / n).sqrt().clamp(min=_TINY)
    below = (others * values).sum() / rest
    broad = ((others * (values - below).square()).sum() / rest).sqrt()
    return torch.stack(
        (
            (n / (n + rest)).clamp(0.02, 0.998),
            middle,
            width,
            torch.minimum(below, middle - _BELOW * width),
            torch.maximum(broad, _WIDER * width),
        )
    )
