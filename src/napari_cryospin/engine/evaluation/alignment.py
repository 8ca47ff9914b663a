"""Global alignment of a reconstruction with the truth: its orientation and hand are arbitrary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.ndimage
import scipy.optimize
from scipy.spatial.transform import Rotation

from napari_cryospin.engine.data.density import fit_map
from napari_cryospin.engine.geometry.hand import MIRROR, mirrored_poses
from napari_cryospin.engine.geometry.rotations import angular_distance

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# poses that try as the global rotation, and poses that judge them
_TRIALS, _JUDGES = 300, 1000
# width of the consensus, degrees: wide enough for the coarsest pose grid
_CONSENSUS = 12.0
_REFINEMENTS = 10
# low frequencies align maps: a larger box would be slower, and easier to trap
_REFINEMENT_BOX = 32
# half the step of the derivatives, degrees and voxels
_STEP = 0.25


@dataclass(frozen=True)
class PoseAlignment:
    """How to bring a reconstruction into the frame of the truth.

    Parameters
    ----------
    rotation
        G with ``truth ≈ estimate @ G`` (after mirroring where ``mirrored``), shape (3, 3).
    mirrored
        Whether the reconstruction has the other hand.
    errors
        Pose error of each particle after alignment, degrees, shape (n,).
    """

    rotation: NDArray[np.float64]
    mirrored: bool
    errors: NDArray[np.float64]

    @property
    def median(self) -> float:
        """Median pose error, degrees."""
        return float(np.median(self.errors))

    @property
    def mean(self) -> float:
        """Mean pose error, degrees."""
        return float(np.mean(self.errors))

    def apply(self, rotations: NDArray[np.floating]) -> NDArray[np.float64]:
        """Bring poses (..., 3, 3) of the reconstruction into the frame of the truth."""
        return _mirror(rotations, self.mirrored) @ self.rotation

    def undo(self, rotations: NDArray[np.floating]) -> NDArray[np.float64]:
        """Bring poses (..., 3, 3) of the truth into the frame of the reconstruction."""
        return _mirror(rotations @ self.rotation.T, self.mirrored)


def align_rotations(
    estimated: ArrayLike, truth: ArrayLike, group: NDArray[np.float64] | None = None
) -> PoseAlignment:
    """Align estimated poses with the true ones over all rotations and both hands.

    The global rotation is a consensus: of those that single particles suggest, the one with which
    most particles agree, refined on them. Outliers, up to more than half, do not move it.

    Parameters
    ----------
    estimated, truth
        Euler matrices of the same particles, shape (n, 3, 3).
    group
        Point group of the true map, (g, 3, 3): a pose is as good as any of its mates, and errors
        are those to the nearest. By default the map has no symmetry.
    """
    group = np.eye(3)[None] if group is None else group
    estimated = np.asarray(estimated, dtype=np.float64)
    truth = np.asarray(truth, dtype=np.float64)
    both = [_align_hand(estimated, truth, mirrored, group) for mirrored in (False, True)]
    return max(both, key=lambda found: _agreement(found.errors))


def _align_hand(
    estimated: NDArray[np.float64],
    truth: NDArray[np.float64],
    mirrored: bool,
    group: NDArray[np.float64],
) -> PoseAlignment:
    estimated = _mirror(estimated, mirrored)
    suggested = np.swapaxes(estimated, 1, 2) @ truth
    rng = np.random.default_rng(0)
    judges = rng.permutation(len(suggested))[:_JUDGES]
    trials = suggested[judges[:_TRIALS]]
    # angle between suggestions: tr(Gᵢᵀ Gⱼ) for all pairs is one matrix product
    judged = suggested[judges].reshape(-1, 9).T
    trace = np.max([(trials @ mate).reshape(-1, 9) @ judged for mate in group], axis=0)
    angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    rotation: NDArray[np.float64] = trials[
        np.argmax(np.exp(-0.5 * (angle / _CONSENSUS) ** 2).sum(1))
    ]
    for _ in range(_REFINEMENTS):
        mates, errors = _nearest_mates(suggested, rotation, group)
        # a width that follows the bulk of the errors, yet never beyond the consensus
        width = np.clip(2 * np.median(errors), 1.0, _CONSENSUS)
        weights = np.exp(-0.5 * (errors / width) ** 2) + 1e-12
        rotation = _nearest_rotation(np.einsum("n,nij->ij", weights, mates))
    return PoseAlignment(rotation, mirrored, _nearest_mates(suggested, rotation, group)[1])


def _nearest_mates(
    suggested: NDArray[np.float64], rotation: NDArray[np.float64], group: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what particles suggest, each turned to the nearest mate, and its angle, degrees."""
    nearest, errors = suggested, angular_distance(suggested, rotation)
    for mate in group:
        turned = suggested @ mate
        angles = angular_distance(turned, rotation)
        nearest = np.where((angles < errors)[:, None, None], turned, nearest)
        errors = np.minimum(angles, errors)
    return nearest, errors


def _agreement(errors: NDArray[np.float64]) -> float:
    return float(np.exp(-0.5 * (errors / _CONSENSUS) ** 2).sum())


def _nearest_rotation(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v, dtype=np.float64)


def _mirror(rotations: NDArray[np.floating], mirrored: bool) -> NDArray[np.float64]:
    return mirrored_poses(rotations) if mirrored else np.asarray(rotations, dtype=np.float64)


def apply_alignment(
    volume: ArrayLike, alignment: PoseAlignment, shift: ArrayLike = (0.0, 0.0, 0.0)
) -> NDArray[np.float32]:
    """Resample a reconstructed map (D, D, D) in the frame of the truth, by cubic splines.

    Parameters
    ----------
    volume
        Map of the reconstruction, (z, y, x).
    alignment
        Result of :func:`align_rotations`.
    shift
        Further movement (x, y, z), voxels.
    """
    volume = np.asarray(volume, dtype=np.float32)
    # poses turn by A → A G, so the point r of the truth's frame is G r of the map's, (x, y, z);
    # reversing both axes of the matrix says the same for (z, y, x)
    matrix = _index_matrix(alignment)
    centre = np.array(volume.shape) // 2
    moved = centre + np.asarray(shift, dtype=np.float64)[::-1]
    result = scipy.ndimage.affine_transform(
        volume, matrix, offset=centre - matrix @ moved, order=3, mode="constant"
    )
    return np.asarray(result, dtype=np.float32)


def _index_matrix(alignment: PoseAlignment) -> NDArray[np.float64]:
    matrix = MIRROR @ alignment.rotation if alignment.mirrored else alignment.rotation
    return matrix[::-1, ::-1]


def map_displacement(
    rotations: NDArray[np.floating], difference: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the movement (x, y, z) of a whole map that explains differences of origin shifts.

    A map displaced by s gives every particle the shift (R s)_xy.

    Parameters
    ----------
    rotations
        Poses, (n, 3, 3), in the frame in which the movement is wanted.
    difference
        Origin shifts (x, y) found, less the true ones, (n, 2).
    """
    axes = rotations[:, :2].reshape(-1, 3)
    found, *_ = np.linalg.lstsq(axes, np.ravel(difference), rcond=None)
    return np.asarray(found, dtype=np.float64)


def refine_map_alignment(
    volume: ArrayLike, truth: ArrayLike, start: PoseAlignment
) -> tuple[PoseAlignment, NDArray[np.float64]]:
    """Refine an alignment by the correlation of the maps themselves, low-passed.

    Parameters
    ----------
    volume, truth
        Maps (D, D, D) of one pixel size.
    start
        Alignment from the poses.

    Returns
    -------
    alignment
        With the refined rotation; the pose errors are those of ``start``.
    shift
        Movement (x, y, z) that goes with it, voxels.
    """
    full = np.shape(truth)[0]
    box = min(full, _REFINEMENT_BOX)
    coarse, coarse_truth = (fit_map(each, 1.0, box, full / box) for each in (volume, truth))
    goal = _standardised(coarse)
    spline = scipy.ndimage.spline_filter(coarse_truth, order=3, output=np.float64)
    centre = np.full(3, box // 2)

    def moved(parameters: NDArray[np.float64]) -> tuple[PoseAlignment, NDArray[np.float64]]:
        turn = Rotation.from_rotvec(parameters[:3], degrees=True).as_matrix()
        return PoseAlignment(start.rotation @ turn, start.mirrored, start.errors), parameters[3:]

    # the truth moves, back to the map: interpolating the map would change its noise
    def mismatch(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        alignment, shift = moved(parameters)
        matrix = _index_matrix(alignment).T
        offset = centre + shift[::-1] - matrix @ centre
        back = scipy.ndimage.affine_transform(spline, matrix, offset, order=3, prefilter=False)
        return _standardised(back) - goal

    def slope(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        steps = _STEP * np.eye(6)
        sides = [mismatch(parameters + step) - mismatch(parameters - step) for step in steps]
        return np.stack(sides, axis=1) / (2 * _STEP)

    found = scipy.optimize.least_squares(
        mismatch, np.zeros(6), slope, xtol=1e-4, ftol=1e-5, max_nfev=20
    )
    refined, shift = moved(found.x)
    return refined, shift * (full / box)


def _standardised(volume: NDArray[np.floating]) -> NDArray[np.float64]:
    flat = np.asarray(volume, dtype=np.float64).ravel()
    flat = flat - flat.mean()
    # an empty map has no norm to divide by
    norm = max(float(np.linalg.norm(flat)), np.finfo(np.float64).tiny)
    return np.asarray(flat / norm, dtype=np.float64)
