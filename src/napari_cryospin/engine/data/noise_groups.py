"""Noise of optics groups and micrographs: images of each are filtered to the noise of all of them.

An image and its CTF are multiplied by the same number in every frequency shell, so that the model
of image formation stays exact whatever that number is, and one spectrum of noise serves all images
(:meth:`.Particles.observed`). The noise of a group is measured where there is no particle, outside
the mask; what the images are normalised by has given it unit variance, so that groups differ by
their colour here, and by their scales otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
import torch

from napari_cryospin.engine.data.normalise import radius_squared
from napari_cryospin.engine.data.original import CryosparcOriginal, StarOriginal

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from napari_cryospin.engine.data.table import ParticleTable

# a micrograph of fewer images has the noise of its optics group
_FEWEST = 50
# groups of images differ where their noise does by so much, root mean square of the logarithm of
# its variance
_LEAST_DIFFERENCE = 0.05
# an image is not multiplied with more, nor with less than one over it
_MOST_FACTOR = 4.0
_MICROGRAPH, _MICROGRAPH_CS = "rlnMicrographName", "location/micrograph_uid"
_SMOOTH = (0.25, 0.5, 0.25)
_TINY = 1e-12


@dataclass(frozen=True)
class NoiseGroups:
    """Which of the images may have the same noise.

    Parameters
    ----------
    of
        Number of the group of each image, (n,).
    optics
        Optics group of each of them, (G,).
    """

    of: NDArray[np.int64]
    optics: NDArray[np.int64]

    @classmethod
    def of_table(cls, table: ParticleTable, rows: NDArray[np.int64]) -> Self:
        """Return the groups of rows of a table: micrographs of many images, and the others.

        Parameters
        ----------
        table
            The particle table.
        rows
            Rows of it, (n,).
        """
        optics = table.optics_index[rows].astype(np.int64)
        micrographs = _micrographs(table, rows)
        if micrographs is None:
            micrographs = np.zeros(len(rows), dtype=np.int64)
        pairs = np.stack((optics, micrographs), 1)
        kinds, number, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        # what is left of an optics group is a group as well
        pairs[counts[number.reshape(-1)] < _FEWEST, 1] = -1
        kinds, number = np.unique(pairs, axis=0, return_inverse=True)
        return cls(number.reshape(-1), kinds[:, 0])

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self.optics) > 1


class Spectra:
    """Power of the images of groups outside the mask, shell by shell.

    Parameters
    ----------
    n_groups
        Number of groups, G.
    mask
        The mask that holds the particle, (D, D): 1 inside.

    Attributes
    ----------
    power
        Sum of the powers, (G, D/2).
    counts
        Number of images, (G,).
    """

    def __init__(self, n_groups: int, mask: Tensor) -> None:
        box = len(mask)
        self._window = 1 - mask
        radius = radius_squared(box).sqrt().round().long()
        # as the transform orders half of the frequencies
        self._shells = torch.fft.ifftshift(radius)[:, : box // 2 + 1].flatten()
        self._inside = self._shells < box // 2
        self._size = torch.bincount(self._shells[self._inside], minlength=box // 2).double()
        self.power = torch.zeros(n_groups, box // 2, dtype=torch.float64)
        self.counts = torch.zeros(n_groups, dtype=torch.float64)

    def add(self, groups: NDArray[np.int64], images: Tensor) -> None:
        """Add images (m, D, D), without a mask, of groups (m,)."""
        if not len(images):
            return
        transform = torch.fft.rfft2(images * self._window)
        power = (transform.real.square() + transform.imag.square()).flatten(1)
        by_shell = torch.zeros(len(images), len(self._size))
        by_shell.index_add_(1, self._shells[self._inside], power[:, self._inside])
        good = by_shell.isfinite().all(1)
        where = torch.from_numpy(groups)[good]
        self.power.index_add_(0, where, by_shell[good].double() / self._size)
        self.counts.index_add_(0, where, torch.ones(len(where), dtype=torch.float64))

    @property
    def independent(self) -> Tensor:
        """How many numbers of an image tell the power of each shell, (D/2,)."""
        return (self._window.square().mean() * self._size).clamp(min=0.5)


@dataclass(frozen=True)
class NoiseFilters:
    """What images of groups, and their CTFs, are multiplied with in each frequency shell.

    Parameters
    ----------
    factors
        Shape (G, D/2), for the radii 0 to D/2 − 1 in units of 1/box.
    of
        Group of each image, (n,).
    """

    factors: Tensor
    of: Tensor

    def to(self, device: torch.device) -> Self:
        """Return the same on a device."""
        return type(self)(self.factors.to(device), self.of.to(device))

    def at(self, rows: Tensor, shells: Tensor) -> Tensor:
        """Return the factors of images (m,) at coefficients of shells (K,), (m, K)."""
        return self.factors[self.of[rows]][:, shells]


def filters_of(
    groups: NoiseGroups, power: Tensor, counts: Tensor, independent: Tensor
) -> Tensor | None:
    """Return the factors that give groups the noise of all of them, (G, D/2); None: they have it.

    Optics groups are compared with all images, and micrographs with their optics group; what may
    well be chance is taken for it.

    Parameters
    ----------
    groups
        The groups.
    power, counts
        Sum of their images' powers outside the mask, (G, S), and their number, (G,).
    independent
        How many numbers of an image tell the power of each shell, (S,).
    """
    power, counts = power.double(), counts.double()
    told = (counts > 0) & (power > 0).all(1)
    if int(told.sum()) < 2:
        return None
    optics = torch.from_numpy(groups.optics)
    members = torch.nn.functional.one_hot(optics, int(optics.max()) + 1).double() * told[:, None]
    everyone = (power * told[:, None]).sum(0) / counts[told].sum()
    of_optics = members.T @ counts
    by_optics = (members.T @ power) / of_optics.clamp(min=1)[:, None]
    by_group = power / counts.clamp(min=1)[:, None]
    broad = _difference(by_optics, everyone, of_optics, independent)
    narrow = _difference(by_group, by_optics[optics], counts, independent)
    # one group is all there is of its optics group
    alone = (members.sum(0) < 2)[optics]
    narrow[alone] = 0
    difference = broad[optics] + narrow
    difference[~told] = broad[optics[~told]]
    size = independent / independent.sum()
    mean = (counts[told] / counts[told].sum()) @ difference[told].square() @ size
    if float(mean) ** 0.5 < _LEAST_DIFFERENCE:
        return None
    return (-difference / 2).exp().clamp(1 / _MOST_FACTOR, _MOST_FACTOR).float()


def _difference(own: Tensor, others: Tensor, counts: Tensor, independent: Tensor) -> Tensor:
    """Return by how much the logarithms of powers differ, (G, S), made smaller by what is chance.

    Parameters
    ----------
    own, others
        Mean powers of groups, (G, S), and what they are compared with.
    counts
        Number of images of each group, (G,).
    independent
        How many numbers of an image tell the power of each shell, (S,).
    """
    known = counts > 0
    difference = torch.zeros_like(own)
    difference[known] = (own / others).clamp(min=_TINY).log()[known]
    edge = torch.nn.functional.pad(difference[:, None], (1, 1), mode="replicate")
    kernel = torch.tensor(_SMOOTH, dtype=own.dtype)[None, None]
    smooth = torch.nn.functional.conv1d(edge, kernel)[:, 0]
    # of the power of a complex number the variance is its square; neighbours are averaged over
    chance = (kernel.square().sum() / independent) / counts.clamp(min=1)[:, None]
    weights = independent / independent.sum()
    found = smooth.square() @ weights
    share = (1 - (chance @ weights) / found.clamp(min=_TINY)).clamp(min=0)
    return smooth * share[:, None]


def _micrographs(table: ParticleTable, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return a number for the micrograph of each of rows (n,); None where none are named."""
    original = table.original
    if isinstance(original, StarOriginal):
        block = original.blocks[original.particles]
        if _MICROGRAPH not in block.columns:
            return None
        names = block[_MICROGRAPH].iloc[rows].to_numpy(dtype=object)
    elif isinstance(original, CryosparcOriginal) and _MICROGRAPH_CS in original.fields:
        names = original.fields[_MICROGRAPH_CS][rows]
    else:
        return None
    number, _ = pd.factorize(np.asarray(names))
    return np.asarray(number, np.int64)
