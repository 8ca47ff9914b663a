"""Every plausible pose of one particle and how probable it is, against a given map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_cryospin.engine.geometry.cells import (
    ancestors,
    angles_of_cells,
    cells_of_rotations,
    n_in_plane,
    rotations_of_cells,
    separation,
    spacing,
)
from napari_cryospin.engine.geometry.healpix import angles_of_pixels, nest_of_ring, ring_pixels_near
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.posterior.coarse_grid import CoarseGrid
from napari_cryospin.engine.posterior.likelihood import PoseLikelihood
from napari_cryospin.engine.posterior.modes import MODE_WEIGHT, ModeCells, find_modes
from napari_cryospin.engine.posterior.noise import estimate_noise
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.posterior.refinement import Cells, on_first_level, refine
from napari_cryospin.engine.posterior.stand_ins import StandIns, stand_ins
from napari_cryospin.engine.sums.quadrature import shift_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.models.noise import NoiseSpectrum


@dataclass(frozen=True)
class ParticlePosterior:
    """Posterior of the pose of one particle.

    Parameters
    ----------
    particle
        Row of the working stack.
    options
        How it was computed.
    probability
        Probability of every cell of the grid (NEST pixels × in-plane intervals), as the finer cells
        tell it, shape (12 nside², 6 nside), in the frame of the map.
    fine
        The posterior on finer cells around the modes.
    modes
        Poses of the modes, the heaviest first, (m, 3, 3), at the fine level.
    mode_weights
        Share of the probability of each, from the fine level, shape (m,).
    image, projection, difference
        The particle, the projection of the map at the best pose times CTF and scale, and the
        particle less the projection, each (D, D), in one unit (noise of variance 1).
    stand_ins
        The candidates that were given beside the posterior, where there were any.
    candidate_projections
        Such projections at the best candidate of each of their modes, (m, D, D).
    """

    particle: int
    options: PosteriorOptions
    probability: NDArray[np.float32]
    fine: Cells
    modes: NDArray[np.float64]
    mode_weights: NDArray[np.float64]
    image: NDArray[np.float32]
    projection: NDArray[np.float32]
    difference: NDArray[np.float32]
    stand_ins: StandIns | None
    candidate_projections: NDArray[np.float32]

    @property
    def nside(self) -> int:
        """HEALPix nside of the grid."""
        return self.options.nside

    @cached_property
    def direction_probability(self) -> NDArray[np.float64]:
        """Probability of each view direction of the grid, (12 nside²,), in RING order."""
        nested: NDArray[np.float64] = self.probability.sum(1, dtype=np.float64)
        return nested[nest_of_ring(self.nside)]

    @cached_property
    def best_in_plane(self) -> NDArray[np.float64]:
        """Most probable psi at each direction of the grid (RING), degrees, (12 nside²,)."""
        rows = np.arange(len(self.probability))
        cells = rows * n_in_plane(self.nside) + self.probability.argmax(1)
        psi = angles_of_cells(cells, self.nside)[:, 2]
        return psi[nest_of_ring(self.nside)]

    def in_plane(self, pixel: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return psi (degrees, ascending) and probability, (6 nside,), at a direction (RING)."""
        nested = nest_of_ring(self.nside)[pixel]
        first = nested * n_in_plane(self.nside)
        cells = first + np.arange(n_in_plane(self.nside))
        psi = angles_of_cells(cells, self.nside)[:, 2]
        order = np.argsort(psi)
        return psi[order], self.probability[nested, order].astype(np.float64)

    def peak_near(self, direction: ArrayLike) -> int:
        """Return the most probable pixel (RING) of the grid around a view direction (x, y, z).

        On the grid a mode may have its peak in the cell beside the one that it is refined in.
        """
        radius = 1.5 * spacing(self.nside)
        near = ring_pixels_near(np.asarray(direction, dtype=np.float64), radius, self.nside)
        return int(near[self.direction_probability[near].argmax()])

    def angles_of_pixel(self, pixel: int) -> tuple[float, float]:
        """Return rot and tilt of a direction of the grid (RING), degrees."""
        (tilt,), (rot,) = angles_of_pixels(nest_of_ring(self.nside)[[pixel]], self.nside)
        return float(np.degrees(rot)), float(np.degrees(tilt))

    @cached_property
    def fine_directions(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Directions of the fine level (NEST pixels, ascending) and their probabilities."""
        pixels, place = np.unique(
            self.fine.cells // n_in_plane(self.fine.nside), return_inverse=True
        )
        probability = self.fine.probability(self.options.temperature).sum(0)
        return pixels, np.asarray(np.bincount(place, probability), dtype=np.float64)

    @property
    def best_rotation(self) -> NDArray[np.float64]:
        """Most probable pose, Euler matrix (3, 3)."""
        _, cell = self._best
        best: NDArray[np.float64] = rotations_of_cells(self.fine.cells[[cell]], self.fine.nside)[0]
        return best

    @property
    def best_shift(self) -> NDArray[np.float64]:
        """Origin shift (x, y) of the most probable pose, pixels of the working box."""
        shift: NDArray[np.float64] = self.fine.shifts[self._best[0]]
        return shift

    @property
    def entropy(self) -> float:
        """Entropy over the grid, nats; its exponential is the effective number of poses."""
        p = self.probability.astype(np.float64)
        return float(-(p * np.log(np.maximum(p, 1e-300))).sum())

    @property
    def n_modes(self) -> int:
        """Number of modes with at least 5 % of the probability; ``modes`` has lighter ones too."""
        return int((self.mode_weights >= MODE_WEIGHT).sum())

    @property
    def mode_distances(self) -> NDArray[np.float64]:
        """Angle of each mode to the heaviest one, degrees, (m,)."""
        return angular_distance(self.modes, self.modes[:1])

    def distance_to_best(self, rotations: ArrayLike) -> NDArray[np.float64]:
        """Return the angles of poses (k, 3, 3) to the most probable one, degrees, (k,)."""
        return angular_distance(rotations, self.best_rotation)

    def mode_of(self, rotations: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the mode in which each pose (k, 3, 3) lies, shape (k,); −1 where in none."""
        if len(rotations) == 0 or len(self.modes) == 0:
            return np.full(len(rotations), -1)
        distances = angular_distance(np.asarray(rotations)[:, None], self.modes[None])
        nearest = distances.argmin(1)
        return np.where(distances.min(1) < separation(self.nside), nearest, -1)

    def credible_level(self, rotation: NDArray[np.floating], rng: np.random.Generator) -> float:
        """Return the probability of the smallest credible set that holds a pose (3, 3).

        Ties between the poses of one cell are broken at random. Over particles of a calibrated
        posterior the level of the true pose is uniform in 0..1.
        """
        probability = self.fine.probability(self.options.temperature).sum(0)
        cell = cells_of_rotations(np.asarray(rotation)[None], self.fine.nside)[0]
        (place,) = np.nonzero(self.fine.cells == cell)
        if len(place) == 0:
            return 1.0
        own = probability[place[0]]
        return float(probability[probability > own].sum() + rng.random() * own)

    @property
    def _best(self) -> tuple[int, int]:
        shift, cell = np.unravel_index(self.fine.log_p.argmax(), self.fine.log_p.shape)
        return int(shift), int(cell)


class ParticlePosteriors:
    """Computes posteriors of particles against the map that it was given last.

    Parameters
    ----------
    particles
        The particles in use.
    options
        How posteriors are computed. With a map at hand, only depth, temperature, shift_extent and
        enough may be changed: the grid is made for the others.
    """

    def __init__(self, particles: Particles, options: PosteriorOptions | None = None) -> None:
        self.particles = particles
        self.options = options or PosteriorOptions()
        self.radius = min(self.options.radius or particles.box / 2, particles.box / 2)
        self._grid: CoarseGrid | None = None

    def set_volume(
        self,
        volume: ArrayLike,
        shifts: ArrayLike | None = None,
        noise: NoiseSpectrum | None = None,
        scales: ArrayLike | None = None,
        *,
        of: ArrayLike | None = None,
        alive: Callable[[], None] | None = None,
    ) -> None:
        """Use a map.

        Parameters
        ----------
        volume
            Shape (D, D, D), (z, y, x), in the unit of the normalised images.
        shifts
            Present origin shifts (x, y) of all particles, pixels, (n, 2); 0 by default.
        noise
            Noise of the images; by default estimated from what the map leaves of them.
        scales
            What the map is multiplied with to fit each particle, shape (n,); 1 by default.
        of
            Rows of the particles that the map is of, as of one class of several, (m,): the noise is
            estimated from these. By default all are.
        alive
            Called now and then while the noise is estimated; it may raise to end the work.
        """
        likelihood = PoseLikelihood(self.particles, volume, noise, scales)
        self._grid = CoarseGrid(likelihood, self.options.nside, self.radius)
        if noise is None:
            origins = np.zeros((self.particles.n, 2)) if shifts is None else np.asarray(shifts)
            device = self.particles.device
            tensor = torch.from_numpy(origins).float().to(device)
            # a class without particles is judged by all
            own = None if of is None or not np.size(of) else torch.from_numpy(np.asarray(of))
            likelihood.noise = estimate_noise(
                self._grid,
                tensor,
                radius=self.radius,
                of=None if own is None else own.to(device),
                alive=alive,
            )

    @property
    def grid(self) -> CoarseGrid:
        """The grid over all poses, with the map.

        Raises
        ------
        RuntimeError
            If no map was set.
        """
        if self._grid is None:
            raise RuntimeError("set_volume must be called first")
        return self._grid

    def particle(
        self,
        index: int,
        shift: ArrayLike = (0.0, 0.0),
        candidates: ArrayLike | None = None,
        *,
        grouped: bool = True,
    ) -> ParticlePosterior:
        """Return the posterior of one particle.

        Parameters
        ----------
        index
            Row of the working stack.
        shift
            Present origin shift (x, y) of the particle, pixels of the working box.
        candidates
            Candidates (K, 3, 3) that are wanted beside it.
        grouped
            Whether candidates that lie near each other are of one mode, as heads' are.

        Raises
        ------
        RuntimeError
            If no map was set.
        """
        likelihood, options = self.grid.likelihood, self.options
        levels = refine(
            likelihood,
            index,
            self._start(index, np.asarray(shift, dtype=np.float64)),
            depth=options.depth,
            radius=self.radius,
            temperature=options.temperature,
            enough=options.enough,
        )
        fine, probability = levels[-1], on_first_level(levels, options.temperature)
        log_p = torch.from_numpy(np.log(np.maximum(probability, 1e-300)))
        modes = find_modes(log_p[None], options.nside)
        rotations, weights = _refined_modes(modes, fine, options)
        image = self.particles.image(index)
        beside = self._beside(index, fine, candidates, grouped)
        chosen = None if beside is None else np.asarray(candidates)[beside.places]
        shown = self._projections(index, fine, chosen)
        return ParticlePosterior(
            particle=index,
            options=options,
            probability=probability.astype(np.float32).reshape(-1, n_in_plane(options.nside)),
            fine=fine,
            modes=rotations,
            mode_weights=weights,
            image=image,
            projection=shown[0],
            difference=image - shown[0],
            stand_ins=beside,
            candidate_projections=shown[1:],
        )

    def _beside(
        self, index: int, fine: Cells, candidates: ArrayLike | None, grouped: bool
    ) -> StandIns | None:
        """Return the candidates beside the posterior, where there are any."""
        if candidates is None or not len(np.asarray(candidates)):
            return None
        options = self.options
        return stand_ins(
            self.grid.likelihood,
            index,
            np.asarray(candidates),
            fine,
            radius=self.radius,
            temperature=options.temperature,
            shifted=options.shift_extent > 0,
            grouped=grouped,
        )

    def _start(self, index: int, shift: NDArray[np.float64]) -> Cells:
        """Return the posterior on the grid, over shifts around the present one."""
        options, grid = self.options, self.grid
        shifts, step = shift[None], 0.0
        if options.shift_extent > 0:
            # a quarter of the finest period in use, as the finer levels halve it
            radius = float(grid.model.frequencies.norm(dim=1).max())
            step = min(max(1.0, self.particles.box / (4 * radius)), options.shift_extent)
            shifts = shift + shift_grid(options.shift_extent, step).double().numpy()
        device = self.particles.device
        rows = torch.tensor([index], device=device).expand(len(shifts))
        log_p = grid.log_probability(rows, torch.from_numpy(shifts).float().to(device))
        values = log_p.double().cpu().numpy()
        return Cells(options.nside, np.arange(values.shape[1]), shifts, step, values)

    def _projections(
        self, index: int, fine: Cells, candidates: ArrayLike | None
    ) -> NDArray[np.float32]:
        """Return the projections at the best pose and at the candidates, (1 + M, D, D)."""
        shift, cell = np.unravel_index(fine.log_p.argmax(), fine.log_p.shape)
        poses = rotations_of_cells(fine.cells[[cell]], fine.nside)
        if candidates is not None and len(np.asarray(candidates)):
            poses = np.concatenate((poses, np.asarray(candidates)))
        shifts = np.tile(fine.shifts[shift], (len(poses), 1))
        shown = self.grid.likelihood.projections(index, poses, shifts)
        return np.asarray(shown.cpu().numpy())


def _refined_modes(
    modes: ModeCells, fine: Cells, options: PosteriorOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return poses (m, 3, 3) and weights (m,) of one particle's modes on the fine level.

    A fine cell belongs to the mode whose peak is the nearest; a mode that has lost all its cells
    keeps the place of its peak, without weight.
    """
    peaks = modes.cells[0][modes.cells[0] >= 0]
    poses = rotations_of_cells(peaks, modes.nside)
    probability = fine.probability(options.temperature).sum(0)
    coarse, place = np.unique(ancestors(fine.cells, fine.nside, modes.nside), return_inverse=True)
    distances = angular_distance(rotations_of_cells(coarse, modes.nside)[:, None], poses[None])
    owner = distances.argmin(1)[place]
    weights = np.bincount(owner, probability, minlength=len(peaks)).astype(np.float64)
    for mode in range(len(peaks)):
        mine = np.flatnonzero(owner == mode)
        if len(mine):
            best = mine[probability[mine].argmax()]
            poses[mode] = rotations_of_cells(fine.cells[[best]], fine.nside)[0]
    order = np.argsort(-weights)
    return poses[order], weights[order]
