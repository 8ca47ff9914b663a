"""Reaching the verdict: what is measured of a run, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.evaluation.directions import Directions
from napari_cryospin.engine.judging.causes import Findings, look_for_causes
from napari_cryospin.engine.judging.contrast import skewness
from napari_cryospin.engine.judging.halves import HalfMaps
from napari_cryospin.engine.judging.mates import Mates
from napari_cryospin.engine.judging.misfit import local_misfit
from napari_cryospin.engine.judging.pixel_size import fitting_pixel_size
from napari_cryospin.engine.judging.refined import with_refined_poses
from napari_cryospin.engine.judging.symmetry import MapSymmetry, find_symmetry
from napari_cryospin.engine.models.volume import map_of_grid
from napari_cryospin.engine.run.agreement import SIGNIFICANT, agreement
from napari_cryospin.engine.run.half_comparison import compare
from napari_cryospin.engine.run.others import structure_of
from napari_cryospin.engine.run.symmetry_trials import tried_symmetry, worth_a_trial
from napari_cryospin.engine.run.verdict_words import (
    advice,
    by_halves,
    contrast_warning,
    evidence,
    pixel_size_warning,
    symmetry_words,
    views_warning,
)
from napari_cryospin.engine.runfolder.verdict import Cause, Outcome, Verdict, Warned, WarningKind

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.half_resolution import HalfResolution
    from napari_cryospin.engine.judging.evidence import Judgement
    from napari_cryospin.engine.judging.misfit import Misfit
    from napari_cryospin.engine.run.training import Training

# what a particle must tell of its pose, nats: less than this is one pose in three
_LEAST_INFORMATION = 1.0
# share of the particles to which two starts must give the same pose: below the first they have come
# to different maps, below the second to one map, and a part of the poses is not found again
_AGREE, _FOUND_AGAIN = 0.5, 0.8
# share of the poses that must be expected to be right: below the first the poses are uncertain,
# below the second they have not converged
_CERTAIN, _MOSTLY = 0.9, 0.5
# share of the poses expected to be right below which it is worth looking for causes
_SURE = 0.97
# a map is of inverted contrast where its skewness is below this
_INVERTED = -1.0
# the pixel size is off where another one gains so many nats per particle, and is so far from it
_CTF_GAIN, _PIXEL_SIZE_OFF = 0.1, 0.05


@dataclass(frozen=True)
class Measured:
    """What was measured of a run that shows a structure.

    ``agree`` and ``rival`` are of :func:`~.agreement.agreement`; ``expected_right`` and they are
    modulo the mates of the findings where ``modulo_mates`` says so. ``symmetry`` is larger than the
    one that the run was told, ``halves`` says how far the half-maps agree. ``classes`` are those
    of the run, of which this is one.
    """

    judged: Judgement
    findings: Findings
    expected_right: float
    agree: float | None
    rival: bool
    symmetry: MapSymmetry | None = None
    halves: HalfResolution | None = None
    classes: int = 1

    @property
    def symmetric(self) -> bool:
        """Whether the molecule has the symmetry: particles may differ from an average of mates."""
        found = self.symmetry
        return found is not None and (found.true or found.missed) and self.cause is not Cause.MATES

    @property
    def missed_symmetry(self) -> bool:
        """Whether the molecule has a symmetry that its map has not."""
        return self.symmetry is not None and self.symmetry.missed

    @property
    def alone(self) -> bool:
        """Whether independent halves agree on nothing but what they share."""
        return self.halves is not None and self.halves.shared is not None and not self.halves.found

    @property
    def _found(self) -> Cause | None:
        """The cause that the findings speak for; mates that are proven alike are none."""
        found = self.findings.cause
        proven = self.symmetry is not None and self.symmetry.proven
        return None if proven and found is Cause.MATES else found

    @property
    def modulo_mates(self) -> bool:
        """Whether poses are counted modulo the mates: the map has some, and explains particles."""
        return len(self.findings.mates.turns) > 1 and not self.findings.unexplained

    @property
    def outcome(self) -> Outcome:
        """What it comes to."""
        if self.expected_right < _MOSTLY:
            return Outcome.STUCK
        cause = self._found
        good = cause is Cause.OUTLIERS and self.findings.only_some_do_not_fit
        if self.findings.unexplained and not good:
            return Outcome.UNEXPLAINED
        if cause in (Cause.OFF_CENTRE, Cause.SEVERAL_STRUCTURES):
            return Outcome.UNEXPLAINED
        if self.agree is not None and self.agree < _AGREE and self.rival:
            return Outcome.COMPETING
        if self.not_found_again or cause is Cause.MATES or self.missed_symmetry:
            return Outcome.UNCERTAIN
        sure = self.expected_right >= _CERTAIN and not self.alone
        return Outcome.CONVERGED if sure else Outcome.UNCERTAIN

    @property
    def not_found_again(self) -> bool:
        """Whether two starts come to one map, and give other poses to many of the particles."""
        return self.agree is not None and _AGREE <= self.agree < _FOUND_AGAIN

    @property
    def cause(self) -> Cause | None:
        """What is at fault; poses that are uncertain with nothing else wrong lack signal.

        Starts that come to different maps tell nothing of the particles by what one map leaves.
        """
        found = self._found
        differ = self.agree is not None and self.agree < _AGREE
        if found is Cause.SEVERAL_STRUCTURES and differ and not self.findings.others_show_one:
            return None
        unsure = self.expected_right < _CERTAIN or self.alone
        if self.symmetry is not None and self.symmetry.proven:
            # a run without the symmetry is at fault
            return found
        if found is None and unsure and self.outcome in (Outcome.UNCERTAIN, Outcome.STUCK):
            return Cause.TOO_LITTLE_SIGNAL
        return found


def reach_verdict(
    training: Training, halves: HalfMaps | None = None, resolution: HalfResolution | None = None
) -> Verdict:
    """Return the verdict on the present map and poses of a run.

    Parameters
    ----------
    training
        The run.
    halves
        Its half-maps, where they have been made already.
    resolution
        How far they agree, where that is known already.
    """
    judged = training.judge()
    group = training.problem.group
    if judged is None:
        halves = halves or HalfMaps.of(training.particles, training.poses, training.placed, group)
        symmetry = _symmetry(training, halves)
        found = symmetry_words(symmetry, advised=training.classes == 1)
        said = ("Too few particles were held out to judge the map.", *found)
        return Verdict(Outcome.UNKNOWN, said, **_figures_of(symmetry))
    halves = halves or HalfMaps.of(training.particles, training.poses, training.placed, group)
    resolution = resolution or compare(training, halves).resolution
    weak = judged.mean_gain < SIGNIFICANT * judged.gain_error
    information = float(judged.information.mean())
    if weak or information < _LEAST_INFORMATION:
        cause, outcome = Cause.TOO_LITTLE_SIGNAL, Outcome.NO_STRUCTURE
        verdict = Verdict(
            outcome,
            (*evidence(judged, None), *by_halves(resolution), *advice(outcome, cause)),
            judged.mean_gain,
            judged.gain_error,
            information,
            starts_agree=agreement(training.starts.ended)[0],
            cause=cause,
        )
        return _with_figures(verdict, resolution)
    plain = replace(_measured(training, halves, judged), halves=resolution)
    measured = _with_symmetry(training, plain, _symmetry(training, halves))
    directions = _directions(training, halves)
    converged = measured.outcome is Outcome.CONVERGED
    told = training.settings.model.symmetry
    if worth_a_trial(told, measured.symmetry, directions.sampling, converged=converged):
        tried = tried_symmetry(training, halves, _across(training))
        measured = measured if tried is None else _with_symmetry(training, plain, tried)
    warnings = _warnings(training, halves)
    if not measured.missed_symmetry:
        # views of a wrong map are not the molecule's
        warnings = (*warnings, *_views_warnings(directions, training))
    verdict = replace(
        _told(measured, warnings), cone_ratio=directions.ratio, sampling=directions.sampling
    )
    return _with_figures(verdict, resolution)


def _directions(training: Training, halves: HalfMaps) -> Directions:
    """Return how evenly the map is known in all directions."""
    rotations = training.poses.rotations[training.members].double().cpu().numpy()
    one, two = (map_of_grid(grid).cpu().numpy() for grid in halves.grids)
    return Directions.of(one, two, rotations, training.problem.group.double().cpu().numpy())


def _views_warnings(directions: Directions, training: Training) -> tuple[Warned, ...]:
    """Return what is said where preferred orientation limits the map."""
    if not directions.limited:
        return ()
    symmetric = len(training.problem.group) > 1
    text = views_warning(directions.ratio, directions.sampling, symmetric=symmetric)
    return (Warned(WarningKind.VIEWS, text),)


def _with_figures(verdict: Verdict, halves: HalfResolution | None) -> Verdict:
    """Return a verdict with the figures that independent halves tell."""
    if halves is None or halves.shared is None:
        return verdict
    found = halves.angstrom if halves.found else None
    return replace(verdict, resolution=found, shared_by_halves=halves.shared)


def _told(measured: Measured, warnings: tuple[Warned, ...]) -> Verdict:
    """Return the verdict that measurements come to."""
    judged, findings = measured.judged, measured.findings
    outcome, cause = measured.outcome, measured.cause
    misfit, moved, varied = findings.misfit, findings.centring, findings.variability
    several = cause is Cause.SEVERAL_STRUCTURES
    missed, classes = measured.missed_symmetry, measured.classes
    advised = advice(outcome, cause, missed_symmetry=missed, classes=classes)
    return Verdict(
        outcome,
        (*evidence(judged, measured), *by_halves(measured.halves), *advised),
        judged.mean_gain,
        judged.gain_error,
        float(judged.information.mean()),
        measured.expected_right,
        measured.agree,
        cause,
        misfit=None if misfit is None else misfit.value,
        misfit_without_worst=None if misfit is None else misfit.without_worst,
        explained=None if misfit is None else misfit.explained,
        outliers=None if misfit is None else findings.outliers,
        shift_gain=None if moved is None else moved.gain,
        shift_rms=None if moved is None else moved.rms,
        variability_gain=None if varied is None else varied.gain,
        shares=findings.shares if several else None,
        mates=len(findings.mates.turns),
        mates_alike=findings.mates.tried,
        **_figures_of(measured.symmetry, symmetric=measured.symmetric),
        warnings=warnings,
    )


def _figures_of(found: MapSymmetry | None, *, symmetric: bool | None = None) -> dict[str, Any]:
    """Return what a verdict keeps of a symmetry; ``symmetric`` says whether the molecule has it."""
    if found is None:
        return {}
    symmetric = found.true if symmetric is None else symmetric
    return {
        "symmetry" if symmetric else "pseudo_symmetry": found.name,
        "symmetry_axis": found.axis,
        "symmetry_frame": tuple(map(float, (*found.frame.rotation.ravel(), *found.frame.middle))),
        "symmetry_correlation": found.correlation,
        "symmetry_allowed": found.allowed,
        "symmetry_gain": found.gain,
    }


def _symmetry(training: Training, halves: HalfMaps) -> MapSymmetry | None:
    """Look for a symmetry that the run was not told of."""
    problem, noise = training.problem, training.inference.noise
    return find_symmetry(problem, halves, training.learning_and_held(), noise, _across(training))


def _across(training: Training) -> float:
    """Return the diameter of what holds the particle, pixels."""
    diameter, particles = training.settings.data.mask_diameter, training.particles
    return particles.box if diameter is None else diameter / particles.pixel_size


def _measured(training: Training, halves: HalfMaps, judged: Judgement) -> Measured:
    """Measure what the map explains, and look for causes where something is in doubt."""
    misfit = _misfit(training, halves)
    members, ended = training.members, training.starts.ended
    strangers = training.outliers or 0.0
    fitting = _fitting(judged.rows, members, misfit)
    group = training.problem.group
    own = group.double().cpu().numpy() if len(group) > 1 else None
    expected_right = float(training.pose_confidence(group)[fitting].mean())
    present = training.poses.rotations
    agree, rival = agreement(ended, own, members, present)
    findings = Findings(misfit, None, Mates.none(), None, strangers)
    doubtful = expected_right < _SURE or (agree is not None and agree < _CERTAIN)
    if findings.doubtful or doubtful:
        rows = (training.placed & ~members).nonzero().flatten()
        others = structure_of(training, rows)
        findings = look_for_causes(training.problem, halves, misfit, judged, strangers, others)
    return Measured(judged, findings, expected_right, agree, rival, classes=training.classes)


def _with_symmetry(training: Training, plain: Measured, symmetry: MapSymmetry | None) -> Measured:
    """Return what was measured, of a map that has a symmetry; poses count modulo its mates."""
    measured = replace(plain, symmetry=symmetry)
    if symmetry is not None and not symmetry.pseudo:
        # of a map that has not the symmetry of its particles no turn means anything
        mates = symmetry.mates if symmetry.true else Mates.none()
        measured = replace(measured, findings=replace(plain.findings, mates=mates))
    if not measured.modulo_mates:
        return measured
    turns = measured.findings.mates.turns
    on_device = torch.from_numpy(turns).float().to(training.problem.device)
    fitting = _fitting(measured.judged.rows, training.members, measured.findings.misfit)
    expected_right = float(training.pose_confidence(on_device)[fitting].mean())
    present = training.poses.rotations
    agree, rival = agreement(training.starts.ended, turns, training.members, present)
    return replace(measured, expected_right=expected_right, agree=agree, rival=rival)


def _misfit(training: Training, halves: HalfMaps) -> Misfit | None:
    """Return what the half-maps leave unexplained of the particles that belong to them."""
    problem, particles = training.problem, training.particles
    if not training.kind.is_fine:
        # a grid or an encoder leaves poses a few degrees off: they are no fault of the map
        problem = with_refined_poses(problem, halves)
        halves = HalfMaps.of(particles, problem.poses, training.placed, problem.group)
    _, held = training.learning_and_held()
    return local_misfit(problem, halves.among(training.members), _across(training), held)


def _fitting(rows: Tensor, members: Tensor, misfit: Misfit | None) -> Tensor:
    """Return which particles (h,) are not outliers: these have no pose that could be right."""
    fitting = members[rows]
    if misfit is not None:
        fitting = fitting & ~torch.isin(rows, misfit.rows[misfit.outlying])
    return fitting if bool(fitting.any()) else ~fitting


def _warnings(training: Training, halves: HalfMaps) -> tuple[Warned, ...]:
    """Return what is likely to be wrong with what is told of the images."""
    found = []
    if skewness(map_of_grid(torch.stack(halves.grids).mean(0))) < _INVERTED:
        found.append(Warned(WarningKind.CONTRAST, contrast_warning()))
    fit = fitting_pixel_size(training.problem, halves)
    if fit is not None and fit.gain > _CTF_GAIN and abs(fit.factor - 1) > _PIXEL_SIZE_OFF:
        size = training.particles.pixel_size
        found.append(Warned(WarningKind.PIXEL_SIZE, pixel_size_warning(fit.factor, size)))
    return tuple(found)
