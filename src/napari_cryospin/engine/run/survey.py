"""How sure the poses of a run are, epoch by epoch: modes, entropy, and what holds the truth."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.evaluation.posteriors import common_rotation, coverage
from napari_cryospin.engine.geometry.cells import separation
from napari_cryospin.engine.geometry.poses import Poses
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.judging import heads
from napari_cryospin.engine.posterior.of_particles import ParticlePosteriors
from napari_cryospin.engine.posterior.summary import candidates_beside, summarise
from napari_cryospin.engine.run.asked_class import in_class, map_of
from napari_cryospin.engine.run.snapshot import read_epoch
from napari_cryospin.engine.runfolder.metrics import bins_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.engine.posterior.options import PosteriorOptions
    from napari_cryospin.engine.posterior.summary import PosteriorSummary
    from napari_cryospin.engine.run.truth import Truth
    from napari_cryospin.engine.runfolder.folder import RunFolder
    from napari_cryospin.engine.switch_figures import WeightBin

# particles that stand for all
PROBES = 200


@dataclass(frozen=True)
class EpochSurvey:
    """Figures of the posteriors of probe particles against the map of one epoch.

    Shares are of the probes, in 0..1, those of candidates of the probes that have any; None where
    no head has spoken or the truth is unknown.

    Parameters
    ----------
    epoch, inference
        Which epoch, from 0.
    multimodal
        Share with more than one mode.
    entropy
        Median entropy over the pose grid, nats.
    pair_angle, pair_share
        Rotation of the map, degrees, that relates the two best modes of most multimodal probes, and
        the share of the multimodal probes for which it does.
    winner_in_best_mode
        Share whose winning candidate lies in the heaviest mode.
    coverage, random_coverage
        Share of the exact posterior within 15° of one of the recorded candidates of the heads, and
        of as many random poses.
    calibration_error, truth_calibration_error
        Expected calibration error of the weights of the candidates' modes: against what the exact
        posterior has there, and against whether the true pose lies there.
    weights, truth_weights
        The reliability diagrams, ten bins at most.
    candidates_hold_truth, best_mode_holds_truth, modes_hold_truth
        Share whose true pose lies near one of the heads' poses, in the heaviest mode, in any mode.
    class_number
        Class of the probes, from 1; None where the run has one. Where nobody is in it, all else is
        NaN or None.
    """

    epoch: int
    inference: str
    multimodal: float = math.nan
    entropy: float = math.nan
    pair_angle: float = math.nan
    pair_share: float = math.nan
    winner_in_best_mode: float | None = None
    candidates_hold_truth: float | None = None
    best_mode_holds_truth: float | None = None
    modes_hold_truth: float | None = None
    coverage: float | None = None
    random_coverage: float | None = None
    calibration_error: float | None = None
    truth_calibration_error: float | None = None
    weights: tuple[WeightBin, ...] = ()
    truth_weights: tuple[WeightBin, ...] = ()
    class_number: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nobody is in the class."""
        return math.isnan(self.entropy)

    def figures(self) -> dict[str, float | int | str | None]:
        """Return the figures by name; what is not known is None, which JSON can say.

        A reliability diagram is one text: weight, share that is right and number of each bin. The
        number of the class, ``class``, is there where the run has several.
        """
        own = asdict(self)
        of_class = own.pop("class_number")
        own |= {} if of_class is None else {"class": of_class}
        own["weights"], own["truth_weights"] = map(bins_text, (self.weights, self.truth_weights))
        return {name: None if value != value else value for name, value in own.items()}


def probe_rows(used: NDArray[np.bool_], probes: int = PROBES) -> NDArray[np.int64]:
    """Return rows of particles in use, evenly spread over the stack."""
    rows = np.flatnonzero(used)
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(probes, len(rows))).astype(np.int64))]


class EmptyClass(InputError):
    """Nobody is of the class that was to be looked at, in an epoch that is whole.

    Parameters
    ----------
    poses
        The poses of the epoch.
    of_class
        The class, from 0.
    """

    def __init__(self, poses: PosesUpdated, of_class: int) -> None:
        super().__init__(f"No particle is of class {of_class + 1} in epoch {poses.epoch + 1}.")
        self.survey = EpochSurvey(poses.epoch, str(poses.inference), class_number=of_class + 1)


def survey_epoch(
    folder: RunFolder,
    epoch: int,
    particles: Particles,
    truth: Truth | None,
    *,
    options: PosteriorOptions | None = None,
    probes: int = PROBES,
    of_class: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> EpochSurvey:
    """Return the figures of a recorded epoch.

    Parameters
    ----------
    folder
        The run folder.
    epoch
        A recorded epoch.
    particles, truth
        Particles of the run, and their truth where it is known.
    options
        How posteriors are computed.
    probes
        Number of particles that stand for all.
    of_class
        Class, from 0, whose particles are looked at, against its own map.
    progress
        Called with the particles done and their number; it may raise to end the work.

    Raises
    ------
    InputError
        If the epoch's map or poses are missing or damaged.
    EmptyClass
        If no particle is of the class.
    """
    volume, poses = read_epoch(folder, epoch, particles, truth)
    posteriors = ParticlePosteriors(particles, options)
    shifts = poses.shifts / particles.pixel_size
    own = in_class(poses, of_class)
    if not own.any():
        raise EmptyClass(poses, of_class)
    # each map has a frame of its own, in which the truth is put by the particles of the class
    poses = replace(poses, used=own)
    rows = probe_rows(own, probes)

    def alive() -> None:
        if progress is not None:
            progress(0, len(rows))

    posteriors.set_volume(
        map_of(volume, of_class),
        shifts,
        scales=poses.scales,
        of=None if poses.classes is None else np.flatnonzero(own),
        alive=alive,
    )
    summary = summarise(posteriors, rows, shifts, progress)
    belongs = None if truth is None else truth.belongs
    survey = figures_of(summary, poses, belongs)
    if poses.classes is not None:
        survey = replace(survey, class_number=of_class + 1)
    spoken = rows[_spoken(poses, rows)]
    if not (poses.inference.has_heads and len(spoken)):
        return survey
    return replace(survey, **_of_heads(posteriors, spoken, shifts, poses, belongs))


def _of_heads(
    posteriors: ParticlePosteriors,
    rows: NDArray[np.int64],
    shifts: NDArray[np.floating],
    poses: PosesUpdated,
    belongs: NDArray[np.bool_] | None,
) -> dict[str, Any]:
    """Return how the candidates of heads stand for the posteriors of particles ``rows`` (b,)."""
    device, pixel_size = posteriors.particles.device, posteriors.particles.pixel_size
    candidates = Poses(
        torch.from_numpy(poses.candidates[rows]).to(device),
        torch.from_numpy(poses.candidate_shifts[rows] / np.float32(pixel_size)).to(device),
    )
    found, exact = candidates_beside(posteriors, rows, shifts, candidates)
    figures = heads.figures_of(candidates.rotations, found, exact)
    of_heads: dict[str, Any] = {
        "coverage": figures.coverage,
        "random_coverage": figures.random_coverage,
        "calibration_error": figures.calibration_error,
        "weights": figures.weights,
    }
    if poses.truth is not None:
        true = torch.from_numpy(poses.truth[rows]).float().to(device)
        here = np.ones(len(rows), dtype=bool) if belongs is None else belongs[rows]
        known = found.there & torch.from_numpy(here).to(device)[:, None]
        bins = heads.reliability(found.weights, heads.truth_in_modes(found, true), known)
        of_heads["truth_weights"] = bins
        of_heads["truth_calibration_error"] = heads.calibration_error(bins)
    return of_heads


def _spoken(poses: PosesUpdated, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of some particles (b,) have candidates: an encoder may not have seen all."""
    spoken: NDArray[np.bool_] = (poses.winner[rows] >= 0) & (poses.candidates.shape[1] > 0)
    return spoken


def figures_of(
    summary: PosteriorSummary, poses: PosesUpdated, belongs: NDArray[np.bool_] | None = None
) -> EpochSurvey:
    """Return the figures of posteriors, with what the run knows of the same particles.

    Only particles that belong, (n,), have a true pose; by default all do.
    """
    rows, modes = summary.rows, summary.modes
    rotations, tolerance = modes.rotations, separation(modes.nside)
    several = modes.counts > 1
    angle, share = common_rotation(rotations[several, 0], rotations[several, 1], tolerance)
    spoken = _spoken(poses, rows)
    candidates = poses.candidates[rows]
    winner = held = best = among = None
    if spoken.any():
        winning = candidates[spoken, poses.winner[rows[spoken]]]
        winner = float((angular_distance(winning, rotations[spoken, 0]) <= tolerance).mean())
    here = np.ones(len(rows), dtype=bool) if belongs is None else belongs[rows]
    if poses.truth is not None and here.any():
        true = poses.truth[rows]
        by_mode = coverage(rotations[here], true[here], tolerance)
        best, among = float(by_mode[0]), float(by_mode[-1])
        both = here & spoken
        held = float(coverage(candidates[both], true[both], tolerance)[-1]) if both.any() else None
    return EpochSurvey(
        epoch=poses.epoch,
        inference=str(poses.inference),
        multimodal=summary.multimodal_share,
        entropy=float(np.median(summary.entropy)),
        pair_angle=angle,
        pair_share=share,
        winner_in_best_mode=winner,
        candidates_hold_truth=held,
        best_mode_holds_truth=best,
        modes_hold_truth=among,
    )
