"""What the engine tells of maps and poses, as often as they are worth looking at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from napari_cryospin.engine.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_cryospin.engine.stages import Inference

    TruthBeside = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float32]]


@dataclass(frozen=True)
class VolumeUpdated(Event):
    """A new state of the map: ``volume`` is (z, y, x) float32, a copy that nobody else writes to.

    Its unit is that of the normalised images (noise of unit variance); particles are white.
    ``others`` are the maps of further classes, where there are several.
    """

    epoch: int
    inference: Inference
    volume: NDArray[np.float32]
    pixel_size: float
    others: tuple[NDArray[np.float32], ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls,
        epoch: int,
        inference: Inference,
        maps: Sequence[NDArray[np.float32]],
        pixel_size: float,
    ) -> Self:
        """Return the event of the map of each class."""
        return cls(epoch, inference, maps[0], pixel_size, tuple(maps[1:]))

    @property
    def maps(self) -> tuple[NDArray[np.float32], ...]:
        """The map of each class."""
        return self.volume, *self.others


@dataclass(frozen=True)
class PosesUpdated(Event):
    """New poses of all particles, n of them, with K candidates each.

    An encoder with M heads that was asked at S turns has M · S of them, of which only the best of
    each head and some others may be told (:mod:`~napari_cryospin.engine.run.told_candidates`).
    Auto-decoding with a single hypothesis has no candidates, K = 0: ``winner`` is then the head, or
    the mode, of the stage before.

    Parameters
    ----------
    rotations
        Present pose of each particle, RELION Euler matrices, (n, 3, 3).
    shifts
        Present origin shift (x, y) of each particle, Å, (n, 2).
    winner
        Index of the winning candidate, (n,); −1 where the particle has not been seen yet.
    losses
        Present loss of each particle, per Fourier coefficient, (n,); NaN where not seen yet.
    used
        Whether training uses the particle, (n,); False where it was dropped.
    candidates
        Candidates of each particle, (n, K, 3, 3): poses that the heads proposed in auto-encoding,
        modes of the posterior in marginalisation, hypotheses in auto-decoding.
    candidate_shifts
        Their origin shifts (x, y), Å, (n, K, 2).
    candidate_losses
        Loss of each candidate, (n, K); NaN where not seen yet, or where there is none.
    scales
        What the map is multiplied with to fit each particle, (n,).
    membership
        Probability that each image shows the particle, (n,); 1 where outliers are not looked for.
    by_hand
        What was said of that by hand, (n,) int8: 1 that it does, −1 that it does not, 0 nothing.
        None: it is not known, as in the record of an epoch.
    found_membership
        The membership as the program found it last, before it was said by hand, (n,). None: it is
        not known, as in the record of an epoch.
    log_likelihood, explained
        How well the map fits each particle at the end of the last epoch
        (:class:`~napari_cryospin.engine.judging.particle_fit.ParticleFit`), (n,) each; NaN where
        it is not known.
    candidate_heads
        Head of each candidate, (n, K); −1 where there is none. None: each is a head of its own.
    candidate_counts
        Where only some candidates are told: how many of all lie within 20° of each, (n, K).
    candidate_classes
        Class whose map each candidate is a pose of, from 0, (n, K); None where there is one map.
    classes, class_weights
        Class of each particle, from 0, (n,), and the probability of each, (n, C); None where there
        is one map.
    truth_beside
        Where the truth is known, what gives the true poses, (n, 3, 3), in the frame of poses, of
        which some are in use, (n,).
    has_truth
        Which particles have a true pose: those that belong to the true map, bool, (n,).
    """

    epoch: int
    inference: Inference
    rotations: NDArray[np.float32]
    shifts: NDArray[np.float32]
    winner: NDArray[np.int64]
    losses: NDArray[np.float32]
    used: NDArray[np.bool_]
    candidates: NDArray[np.float32]
    candidate_shifts: NDArray[np.float32]
    candidate_losses: NDArray[np.float32]
    scales: NDArray[np.float32]
    membership: NDArray[np.float32]
    log_likelihood: NDArray[np.float32]
    explained: NDArray[np.float32]
    candidate_heads: NDArray[np.int16] | None = None
    candidate_counts: NDArray[np.int16] | None = None
    candidate_classes: NDArray[np.uint8] | None = None
    classes: NDArray[np.int64] | None = None
    class_weights: NDArray[np.float32] | None = None
    truth_beside: TruthBeside | None = field(default=None, repr=False)
    has_truth: NDArray[np.bool_] | None = field(default=None, repr=False)
    by_hand: NDArray[np.int8] | None = None
    found_membership: NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def n_heads(self) -> int:
        """Number M of heads; of modes or hypotheses where there is no encoder."""
        if self.candidate_heads is None:
            return int(self.candidate_losses.shape[1])
        return int(self.candidate_heads.max(initial=-1)) + 1

    def heads(self, particle: int) -> NDArray[np.int64]:
        """Return the head of each candidate of a particle, (K,); −1 where there is none."""
        if self.candidate_heads is None:
            return np.arange(self.candidate_losses.shape[1])
        heads: NDArray[np.int64] = self.candidate_heads[particle].astype(np.int64)
        return heads

    @cached_property
    def winning_head(self) -> NDArray[np.int64]:
        """Head of the winning candidate, (n,); −1 where the particle has not been seen yet."""
        if self.candidate_heads is None:
            return self.winner
        heads = np.take_along_axis(self.candidate_heads, np.maximum(self.winner, 0)[:, None], 1)
        return np.where(self.winner < 0, -1, heads[:, 0]).astype(np.int64)

    @cached_property
    def own_losses(self) -> NDArray[np.float32]:
        """Losses of the candidates, (n, K); NaN also for those against a map of another class.

        Each map has a frame of its own: poses are compared with those of the same map.
        """
        if self.candidate_classes is None or self.classes is None:
            return self.candidate_losses
        own = self.candidate_classes == self.classes[:, None]
        return np.where(own, self.candidate_losses, np.float32(np.nan))

    @cached_property
    def truth(self) -> NDArray[np.float32] | None:
        """True poses in the frame of these, (n, 3, 3), where the truth is known.

        They are aligned when somebody first looks at them.
        """
        if self.truth_beside is None:
            return None
        return self.truth_beside(self.rotations, self.used)

    def truth_of(self, particle: int) -> NDArray[np.float32] | None:
        """Return the true pose of a particle, (3, 3); None where it has none that is known."""
        if self.truth is None or not (self.has_truth is None or self.has_truth[particle]):
            return None
        pose: NDArray[np.float32] = self.truth[particle]
        return pose
