"""The verdict as words, and reached once more from a run folder."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.symmetry_axes import SymmetryFrame
from napari_cryospin.engine.half_resolution import HalfResolution
from napari_cryospin.engine.judging.causes import Findings
from napari_cryospin.engine.judging.centring import Centring
from napari_cryospin.engine.judging.evidence import Judgement
from napari_cryospin.engine.judging.mates import Mates
from napari_cryospin.engine.judging.misfit import Misfit
from napari_cryospin.engine.judging.symmetry import MapSymmetry
from napari_cryospin.engine.judging.variability import Variability
from napari_cryospin.engine.run.judgement import Measured
from napari_cryospin.engine.run.rejudging import judge_again
from napari_cryospin.engine.run.standing import Standing
from napari_cryospin.engine.run.verdict_words import advice, by_halves, evidence, views_warning
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.verdict import Cause, Outcome
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.judging.causes import Findings as Found
    from napari_cryospin.engine.state.pose_table import PoseTable
    from napari_cryospin.engine.state.problem import Problem


@pytest.mark.usefixtures("small_searches")
def test_a_finished_run_is_judged_as_it_was(finished_run: Path) -> None:
    folder = RunFolder(finished_run)
    before = folder.verdict_path.read_bytes()
    again, first = judge_again(folder), folder.verdict()
    assert first is not None
    assert again.outcome is first.outcome
    assert again.cause is first.cause
    assert again.gain == pytest.approx(first.gain, rel=1e-3)
    assert folder.verdict_path.read_bytes() == before


def test_a_folder_without_checkpoints_is_not_judged(copied_run: Path) -> None:
    folder = RunFolder(copied_run)
    for path in folder.checkpoints():
        path.unlink()
    with pytest.raises(InputError, match="no checkpoint"):
        judge_again(folder)


NOTHING = torch.zeros(0)
GAIN = torch.full((60,), 20.0) + torch.arange(60) % 3
JUDGED = Judgement(torch.arange(60), GAIN, GAIN, torch.zeros(60, 4, 3, 3), torch.zeros(60, 4))
GOOD = Findings(Misfit(0.01, 0.0, NOTHING, torch.ones(10), NOTHING), None, Mates.none(), None)
BAD = Misfit(0.6, 0.5, NOTHING, torch.ones(10), NOTHING)
TWO = Variability(
    6.0,
    NOTHING,
    torch.cat((torch.randn(700) - 4, torch.randn(300) + 4)),
    NOTHING,
)


def said(found: Found, **figures: object) -> tuple[Outcome, Cause | None, str]:
    """Return what findings come to, and all that is said of them."""
    known = {"expected_right": 0.98, "agree": 0.99, "rival": False} | figures
    measured = Measured(JUDGED, found, **known)
    advised = advice(
        measured.outcome,
        measured.cause,
        missed_symmetry=measured.missed_symmetry,
        classes=measured.classes,
    )
    words = (*evidence(JUDGED, measured), *by_halves(measured.halves), *advised)
    return measured.outcome, measured.cause, " ".join(words)


def test_a_map_that_explains_the_particles_has_converged() -> None:
    outcome, cause, words = said(GOOD)
    assert (outcome, cause) == (Outcome.CONVERGED, None)
    assert "explains 99 % of the signal" in words


def test_independent_halves_have_a_word() -> None:
    outcome, _, words = said(GOOD, halves=HalfResolution(9.04, shared=30.0))
    assert outcome is Outcome.CONVERGED
    assert "Resolution 9.0 Å (FSC 0.143, independent halves; what they share is coarser" in words
    *_, words = said(GOOD, halves=HalfResolution(8.0, nyquist=True, shared=30.0))
    assert "Resolution better than 8.0 Å, Nyquist" in words
    # halves that share poses tell nothing: the verdict has no word on them
    outcome, _, words = said(GOOD, halves=HalfResolution(8.0))
    assert outcome is Outcome.CONVERGED and "halves" not in words
    # poses that each half is sure of, and that nothing of the other confirms
    outcome, cause, words = said(GOOD, halves=HalfResolution(31.0, shared=30.0))
    assert (outcome, cause) == (Outcome.UNCERTAIN, Cause.TOO_LITTLE_SIGNAL)
    assert "No resolution: independent halves agree on nothing finer" in words


def test_particles_off_centre_are_told_to_be_shifted() -> None:
    outcome, cause, words = said(replace(GOOD, misfit=BAD, centring=Centring(12.0, 0.8)))
    assert (outcome, cause) == (Outcome.UNEXPLAINED, Cause.OFF_CENTRE)
    assert "explains 62 %" in words
    assert "Estimate shifts" in words


def test_two_structures_are_told_with_their_shares() -> None:
    found = replace(GOOD, misfit=BAD, variability=TWO)
    outcome, cause, words = said(found)
    assert (outcome, cause) == (Outcome.UNEXPLAINED, Cause.SEVERAL_STRUCTURES)
    assert "about 70 % and 30 %" in words
    assert "--classes 2" in words
    # however little is left unexplained
    assert said(replace(found, misfit=GOOD.misfit))[0] is Outcome.UNEXPLAINED


def test_several_structures_in_a_class_of_several_are_told_to_be_one_class_more() -> None:
    whole = Standing()
    alone = SimpleNamespace(volume=None, poses=None)
    whole.problem = cast("Problem", SimpleNamespace(of_class=lambda _: alone))
    whole.settings = Settings()
    whole.settings.model.classes = 3
    poses = SimpleNamespace(classes=torch.ones(1))
    whole.used, whole.poses = torch.ones(1, dtype=torch.bool), cast("PoseTable", poses)
    one = whole.of_class(1)
    assert one.settings.model.classes == 1
    assert whole.classes == one.classes == 3
    found = replace(GOOD, misfit=BAD, variability=TWO)
    assert "more classes (--classes 4, Classes in the dock), or with" in said(found, classes=3)[2]
    # there are no more than ten
    words = said(found, classes=10)[2]
    assert "--classes" not in words and "Run again with the particles of one of them" in words


def test_a_few_images_that_do_not_fit_are_no_fault_of_the_map() -> None:
    fits = torch.cat((torch.full((8,), 0.2), torch.ones(92)))
    found = replace(GOOD, misfit=Misfit(0.2, 0.01, NOTHING, fits, NOTHING))
    outcome, cause, words = said(found)
    assert (outcome, cause) == (Outcome.CONVERGED, Cause.OUTLIERS)
    assert "8 % of the images" in words
    assert said(found, expected_right=0.7)[:2] == (Outcome.UNCERTAIN, Cause.OUTLIERS)


def test_many_images_that_do_not_fit_spoil_the_map() -> None:
    fits = torch.cat((torch.full((16,), 0.2), torch.ones(84)))
    found = replace(GOOD, misfit=Misfit(0.31, 0.12, NOTHING, fits, NOTHING))
    assert said(found)[:2] == (Outcome.UNEXPLAINED, Cause.OUTLIERS)


def test_starts_that_come_to_other_maps_speak_against_two_structures() -> None:
    found = replace(GOOD, misfit=BAD, variability=TWO)
    outcome, cause, words = said(found, agree=0.42)
    assert (outcome, cause) == (Outcome.UNEXPLAINED, None)
    assert "agree on the poses of 42 %" in words
    assert "structures" not in words


def test_mates_are_a_symmetry_or_a_cause() -> None:
    turn = np.diag([-1.0, -1.0, 1.0])
    mates = Mates(np.stack((np.eye(3), turn)), 0.95, 0.95)
    outcome, cause, words = said(replace(GOOD, mates=mates))
    assert (outcome, cause) == (Outcome.CONVERGED, None)
    assert "the same after certain turns: 2 mates" in words
    assert "whichever of the mates" in words
    outcome, cause, words = said(replace(GOOD, misfit=BAD, mates=mates))
    assert (outcome, cause) == (Outcome.UNEXPLAINED, Cause.MATES)
    assert "whichever" not in words
    # an average of mates leaves a little of every particle, and junk much of a few
    some = torch.cat((torch.full((92,), 0.001), torch.full((8,), 0.3)))
    for left, expected in (
        (some, (Outcome.CONVERGED, None)),
        (some + 0.01, (Outcome.UNCERTAIN, Cause.MATES)),
    ):
        misfit = replace(GOOD.misfit, unexplained=left)
        assert said(replace(GOOD, misfit=misfit))[:2] == (Outcome.CONVERGED, None)
        outcome, cause, words = said(replace(GOOD, misfit=misfit, mates=mates))
        assert (outcome, cause) == expected
        assert "2 mates" in words
        assert ("differ from it by more than noise" in words) == (cause is Cause.MATES)


def symmetry(correlation: float, gain: float) -> MapSymmetry:
    frame = SymmetryFrame(np.eye(3), np.zeros(3), correlation)
    return MapSymmetry("C4", frame, correlation, 0.98, gain, 0.1)


def test_a_symmetry_is_named_with_its_axis_and_what_to_do() -> None:
    outcome, _, words = said(GOOD, symmetry=symmetry(0.97, 0.5))
    assert outcome is Outcome.CONVERGED
    assert "looks C4-symmetric about the axis (x, y, z) = (0.00, 0.00, 1.00)" in words
    assert "correlation 0.97 after its turns, 0.98 between its halves" in words
    assert "Go on with C4" in words
    # of a class of several it is told, and the others are asked before anything is advised
    for found in (symmetry(0.97, 0.5), symmetry(0.2, 6.0)):
        words = said(GOOD, symmetry=found, classes=2)[2]
        assert "C4" in words and "Go on" not in words


def test_a_pseudo_symmetry_is_told_and_not_advised() -> None:
    outcome, cause, words = said(GOOD, symmetry=symmetry(0.72, -20.0))
    assert (outcome, cause) == (Outcome.CONVERGED, None)
    assert "nearly C4-symmetric, a pseudo-symmetry: correlation 0.72" in words
    assert "20.0 nats less likely" in words
    assert "Go on" not in words
    # nor is that of an average of mates, which looks symmetric
    turns = np.stack((np.eye(3), np.diag([-1.0, -1.0, 1.0])))
    mates = replace(GOOD, misfit=BAD, mates=Mates(turns, 0.95, 0.95))
    _, cause, words = said(mates, symmetry=symmetry(0.97, 0.1))
    assert cause is Cause.MATES
    assert "pseudo-symmetry" in words and "the particles differ from it" in words
    assert "Go on" not in words
    # unless particles prefer a map that has it: poses are wrong then
    _, cause, words = said(mates, symmetry=symmetry(0.97, 0.5))
    assert cause is None
    assert "Go on with C4" in words
    # they tell mates apart at their poses
    apart = replace(symmetry(0.97, 0.5), told_apart=5.0)
    words = said(GOOD, symmetry=apart)[2]
    assert "at their poses particles are 5.0 nats less likely by it" in words
    assert "Go on" not in words


def test_a_map_without_the_symmetry_of_its_particles_is_uncertain() -> None:
    outcome, cause, words = said(GOOD, symmetry=symmetry(0.2, 6.0))
    assert (outcome, cause) == (Outcome.UNCERTAIN, None)
    assert "6.0 nats likelier each by a map of symmetry C4, which this one has not" in words
    assert "Go on with C4" in words
    # another start would tell nothing of it
    assert "--starts" not in words
    # half-maps that agree too little tell no correlation
    unknown = replace(symmetry(0.2, 6.0), correlation=None, allowed=None)
    outcome, _, words = said(GOOD, symmetry=unknown)
    assert outcome is Outcome.UNCERTAIN
    assert "a map of symmetry C4, which this one has not: it is likely to be wrong." in words
    assert "correlation" not in words


def test_poses_that_are_unsure_for_no_other_reason_lack_signal() -> None:
    assert said(GOOD, expected_right=0.7)[:2] == (Outcome.UNCERTAIN, Cause.TOO_LITTLE_SIGNAL)
    assert said(GOOD, expected_right=0.3)[:2] == (Outcome.STUCK, Cause.TOO_LITTLE_SIGNAL)


def test_starts_that_disagree_are_told() -> None:
    outcome, _, words = said(GOOD, agree=0.3, rival=True)
    assert outcome is Outcome.COMPETING
    assert "agree on the poses of 30 %" in words
    assert "do not prefer" in words


def test_poses_that_another_start_does_not_find_are_uncertain() -> None:
    outcome, cause, words = said(GOOD, agree=0.65)
    assert (outcome, cause) == (Outcome.UNCERTAIN, None)
    assert "agree on the poses of 65 %" in words
    assert "run more starts" in words
    # nor do a symmetry or outliers make up for it
    turns = np.stack((np.eye(3), np.diag([-1.0, -1.0, 1.0])))
    symmetric = replace(GOOD, mates=Mates(turns, 0.95, 0.95))
    assert said(symmetric, agree=0.6)[:2] == (Outcome.UNCERTAIN, None)
    fits = torch.cat((torch.full((8,), 0.2), torch.ones(92)))
    some = replace(GOOD, misfit=Misfit(0.2, 0.01, NOTHING, fits, NOTHING))
    assert said(some, agree=0.7)[:2] == (Outcome.UNCERTAIN, Cause.OUTLIERS)
    assert said(GOOD, agree=0.86)[0] is Outcome.CONVERGED
    # a second start that came to another map, which the particles do not prefer, says nothing
    assert said(GOOD, agree=0.2)[0] is Outcome.CONVERGED


@pytest.mark.parametrize(
    ("sampling", "symmetric", "asked"),
    [(0.02, False, True), (0.02, True, False), (0.4, False, False)],
)
def test_views_of_one_unit_of_a_symmetric_molecule_are_thought_of(
    sampling: float, symmetric: bool, asked: bool
) -> None:
    said = views_warning(0.3, sampling, symmetric=symmetric)
    assert "tilted grid" in said
    assert ("(--symmetry)" in said) is asked


def test_a_map_without_a_cause_says_so() -> None:
    outcome, cause, words = said(replace(GOOD, misfit=BAD))
    assert (outcome, cause) == (Outcome.UNEXPLAINED, None)
    assert "No cause was found" in words
