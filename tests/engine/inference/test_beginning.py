"""Making an inference changes nothing; beginning its stage, or loading its state, does."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
import torch

from napari_cryospin.engine.geometry.rotations import rotation_from_6d
from napari_cryospin.engine.inference.amortized import AmortizedInference
from napari_cryospin.engine.inference.direct import DirectInference
from napari_cryospin.engine.inference.marginal import MarginalInference
from napari_cryospin.engine.judging.switching import SwitchCriterion
from napari_cryospin.engine.models.volume import HartleyVolume
from napari_cryospin.engine.run.first_maps import signal_amplitude
from napari_cryospin.engine.stages import AmortizedStage, DirectStage, MarginalStage
from napari_cryospin.engine.state.pose_table import PoseTable
from napari_cryospin.engine.state.problem import Problem
from napari_cryospin.engine.sums.modes import N_MODES
from particle_images import all_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.inference.interface import PoseInference
    from napari_cryospin.engine.settings import Settings

MAKE: dict[str, Callable[[Problem], PoseInference]] = {
    "amortized": lambda problem: AmortizedInference(
        problem, AmortizedStage(), SwitchCriterion.of(problem, AmortizedStage())
    ),
    "direct": lambda problem: DirectInference(problem, DirectStage(hypotheses=1)),
    "hypotheses": lambda problem: DirectInference(problem, DirectStage(hypotheses=2)),
    "marginal": lambda problem: MarginalInference(problem, MarginalStage(nside=4)),
}
CANDIDATES = {"amortized": 3, "direct": 0, "hypotheses": 2, "marginal": N_MODES}


@pytest.fixture
def problem(particles: Particles, settings: Settings) -> Problem:
    """The small stack in the course of a run: poses and candidates are known."""
    draw = torch.Generator().manual_seed(0)
    volume = HartleyVolume(
        particles.box, signal_amplitude(particles, torch.arange(particles.n)), draw
    )
    poses = PoseTable.empty(particles.n, 5, torch.device("cpu"))
    for name, tensor in vars(poses).items():
        if name in ("rotations", "candidates"):
            given = torch.randn(*tensor.shape[:-2], 6, generator=draw)
            setattr(poses, name, rotation_from_6d(given))
        elif name != "turns" and tensor.is_floating_point():
            setattr(poses, name, torch.randn(tensor.shape, generator=draw))
    poses.winner = torch.randint(5, (particles.n,), generator=draw)
    held_out = torch.arange(particles.n) % 4 == 0
    return Problem(particles, volume, poses, held_out, settings.model, 0)


def everything(problem: Problem) -> dict[str, Tensor]:
    particles = problem.particles
    return {
        **{f"poses.{name}": tensor.clone() for name, tensor in problem.poses.state().items()},
        **{f"map.{name}": value.clone() for name, value in problem.volume.state_dict().items()},
        "held out": problem.held_out.clone(),
        "images": all_images(particles).clone(),
        "ctf": particles.ctf_parameters.clone(),
        "random": torch.get_rng_state(),
    }


@pytest.mark.parametrize("kind", MAKE)
def test_making_an_inference_changes_nothing(problem: Problem, kind: str) -> None:
    before, tensors = everything(problem), dict(vars(problem.poses))
    MAKE[kind](problem)
    after = everything(problem)
    assert before.keys() == after.keys()
    for name, known in before.items():
        assert torch.equal(known, after[name]), name
    # not even copies take their place
    assert all(vars(problem.poses)[name] is tensor for name, tensor in tensors.items())


@pytest.mark.parametrize("kind", MAKE)
def test_a_stage_that_begins_makes_room_for_its_candidates(problem: Problem, kind: str) -> None:
    inference = MAKE[kind](problem)
    inference.begin()
    assert problem.poses.candidate_losses.shape == (problem.particles.n, CANDIDATES[kind])


@pytest.mark.parametrize("kind", MAKE)
def test_an_inference_goes_on_from_a_state_without_beginning(problem: Problem, kind: str) -> None:
    first = MAKE[kind](problem)
    first.begin()
    first.train_batch(torch.arange(1, 40))
    state, before = deepcopy(first.state()), everything(problem)
    expected = first.train_batch(torch.arange(41, 80))
    after = everything(problem)
    problem.poses.load(_parts(before, "poses."))
    problem.volume.load_state_dict(_parts(before, "map."))
    again = MAKE[kind](problem)
    again.load_state(state)
    assert again.train_batch(torch.arange(41, 80)) == expected
    for name, known in everything(problem).items():
        assert torch.equal(known.nan_to_num(), after[name].nan_to_num()), name


def _parts(state: dict[str, Tensor], of: str) -> dict[str, Tensor]:
    return {name.removeprefix(of): value for name, value in state.items() if name.startswith(of)}
