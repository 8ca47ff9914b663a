"""Sums over poses: what they take in, images, and tell, the posteriors of their poses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.data.member import overruled

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.models.sums import MapSums
    from napari_cryospin.engine.sums.membership import Outliers
    from napari_cryospin.engine.sums.quadrature import Quadrature

# heaviest cells of a particle that are remembered
KEPT_CELLS = 64
# standard deviation of the prior of particles' scales around 1
_SCALE_SPREAD = 0.2


@dataclass(frozen=True)
class Posteriors:
    """Posteriors of b particles over poses and shifts.

    Parameters
    ----------
    log_evidence
        Log of the mean likelihood over all points of the sum, up to a constant of the image, (b,).
    information
        Divergence of the posterior from the uniform one, nats, (b,).
    cells
        The heaviest cells of poses, descending, (b, T); those of several maps are numbered on, from
        map to map (:func:`~napari_cryospin.engine.sums.quadrature.split_cells`).
    weights
        Their probabilities, (b, T).
    cell_shifts
        Best shift at each from the origin of the image, pixels, (b, T, 2).
    scales
        Posterior mean of the factor that the map needs to fit each image, (b,).
    errors
        Expected error per Fourier coefficient, in units of the noise's variance, (b,).
    points
        Points of the sum that were computed, (b,).
    beyond
        Log-evidence of all frequencies of the map less that of those that poses are judged by,
        (b,); 0 where it was not asked for.
    scores
        How well the map explains each image, beside anything else that it may show, (b,); 0 where
        no outliers are looked for.
    membership
        Probability that each image shows the particle, (b,): as it was given where no outliers are
        looked for.
    classes
        Probability of each of C maps, (b, C); they add up to 1.
    """

    log_evidence: Tensor
    information: Tensor
    cells: Tensor
    weights: Tensor
    cell_shifts: Tensor
    scales: Tensor
    errors: Tensor
    points: Tensor
    beyond: Tensor
    scores: Tensor
    membership: Tensor
    classes: Tensor

    def __getitem__(self, part: slice) -> Posteriors:
        return Posteriors(*(getattr(self, field.name)[part] for field in fields(self)))

    @classmethod
    def told_by(
        cls,
        images: Observed,
        precision: Tensor,
        *,
        cross: Tensor,
        power: Tensor,
        log_evidence: Tensor,
        beyond: Tensor | None,
        points: int,
        heaviest: tuple[Tensor, Tensor, Tensor],
        belonging: tuple[Tensor, Tensor],
        classes: Tensor,
    ) -> Posteriors:
        """Return what a sum over poses tells of images, whichever points it is over.

        Parameters
        ----------
        images
            The images.
        precision
            One over the noise's variance at the frequencies that poses are judged by, (k,).
        cross, power
            Expected products of image and CTF · slice, and of CTF · slice with itself, over the
            noise's variance, (b,) each.
        log_evidence, beyond
            As in the result; None: it was not asked for.
        points
            Points that were computed for each.
        heaviest
            Cells, weights and shifts of the result.
        belonging
            Scores and memberships of the result.
        classes
            As in the result.
        """
        k = len(precision)
        own = (images.coefficients[:, :k].square() * precision).sum(1)
        cells, weights, shifts = heaviest
        return cls(
            log_evidence=log_evidence,
            information=cross - 0.5 * power - log_evidence,
            cells=cells,
            weights=weights,
            cell_shifts=shifts,
            scales=posterior_scale(cross, power, images.scales),
            errors=(own - 2 * cross + power) / k,
            points=torch.full((len(cells),), points, device=cells.device),
            beyond=torch.zeros_like(log_evidence) if beyond is None else beyond,
            scores=belonging[0],
            membership=belonging[1],
            classes=classes,
        )

    @classmethod
    def join(cls, parts: list[Posteriors]) -> Posteriors:
        """Return the posteriors of all parts as one."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})

    def rows(self, order: Tensor) -> Posteriors:
        """Return the posteriors in another order, (b,)."""
        names = [field.name for field in fields(self)]
        return type(self)(**{name: getattr(self, name)[order] for name in names})


class PoseSum(ABC):
    """A sum over the points of a quadrature, and over maps.

    Parameters
    ----------
    quadrature
        Poses, shifts and frequencies.
    grids
        Hartley grids of the maps, (C, D+1, D+1, D+1), or of the only one, (D+1)³.
    variance
        Variance of the noise at every frequency, (K,).
    outliers
        Tells by how much each image goes into the statistics; None: by the membership that it has.
    """

    def __init__(
        self,
        quadrature: Quadrature,
        grids: Tensor,
        variance: Tensor,
        outliers: Outliers | None = None,
    ) -> None:
        self.quadrature, self._outliers = quadrature, outliers
        self._grids = grids.reshape(-1, *grids.shape[-3:])
        self._precision = 1 / variance

    @property
    def n_maps(self) -> int:
        """Number C of maps."""
        return len(self._grids)

    def _belonging(
        self, images: Observed, log_evidence: Tensor, scales: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return scores and memberships of images with scales (b,), (b,) each."""
        if self._outliers is None:
            return torch.zeros_like(log_evidence), images.membership
        scores = self._outliers.scores(images, log_evidence, classes)
        return scores, overruled(self._outliers.members.of(scores, scales), images.by_hand)

    @abstractmethod
    def posteriors(
        self, images: Observed, *, collect: bool = False, look_beyond: bool = False
    ) -> Posteriors:
        """Return the posteriors of images.

        Parameters
        ----------
        images
            The images.
        collect
            Add the images to the statistics.
        look_beyond
            Compute what the frequencies beyond those that poses are judged by tell as well.
        """

    @abstractmethod
    def collected(self) -> tuple[MapSums, ...]:
        """Return what was collected for each map."""


def posterior_scale(cross: Tensor, power: Tensor, scale: Tensor) -> Tensor:
    """Return the posterior mean of scales from Gaussian likelihoods and a prior around 1, (b,).

    Parameters
    ----------
    cross, power
        Expected products of image and CTF·slice, and of CTF·slice with itself, over the noise's
        variance, with CTFs that hold the present ``scale``; (b,) each.
    scale
        Present scales, (b,).
    """
    precision = _SCALE_SPREAD**-2
    return (cross / scale + precision) / (power / scale.square() + precision)
