"""The one loop of training: its steps, and what may come between them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import napari_cryospin
from napari_cryospin.engine.run.epoch import Due, Ending, Epoch, Ready, Trained, train_epoch
from napari_cryospin.engine.run.training import Training
from napari_cryospin.engine.stages import AmortizedStage, DirectStage

if TYPE_CHECKING:
    from napari_cryospin.engine.data.particles import Particles
    from napari_cryospin.engine.settings import Settings


def kinds(steps: list[object]) -> str:
    return "".join(type(step).__name__[0] for step in steps)


def test_an_epoch_is_told_in_steps(particles: Particles, settings: Settings) -> None:
    training = Training(particles, settings)
    steps = list(Epoch(training).steps())
    assert kinds(steps) == "RDTDTDTE"
    assert steps[0] == Ready(3, False, int((~training.held_out).sum()))
    rows = [step.rows for step in steps if isinstance(step, Due)]
    assert sum(map(len, rows)) == int((~training.held_out).sum())
    trained = [step for step in steps if isinstance(step, Trained)]
    assert [step.n for step in trained] == [len(each) for each in rows]
    assert [step.loss for step in trained] == training.losses
    assert (training.clock.epoch, training.clock.batch) == (0, 3)
    training.end_epoch()
    assert (training.clock.epoch, training.clock.batch) == (1, 0)


def test_an_epoch_that_is_left_is_gone_on_with(particles: Particles, settings: Settings) -> None:
    whole, parts = Training(particles, settings), Training(particles, settings)
    train_epoch(whole)
    for step in Epoch(parts).steps():
        if isinstance(step, Trained):
            break
    assert parts.clock.batch == 1
    assert kinds(list(Epoch(parts).steps())) == "RDTDTE"
    assert np.array_equal(whole.maps()[0], parts.maps()[0])
    assert whole.inference.held_out_gain == parts.inference.held_out_gain is not None


@pytest.mark.parametrize("halves", [False, True])
def test_an_epoch_is_gone_on_with_at_its_radius(
    particles: Particles, settings: Settings, halves: bool
) -> None:
    """The sums of the maps are of the low-pass filter's radius, not of the stage's first one."""
    settings.model.halves, settings.model.shifts = halves, False
    settings.stages = [
        DirectStage(
            epochs=2,
            batch_size=40,
            pose_steps=1,
            volume_update="closed form",
            low_pass_start=60.0,
            low_pass_end=16.0,
        )
    ]
    whole = Training(particles, settings)
    train_epoch(whole)
    for step in Epoch(whole).steps():
        if isinstance(step, Trained) and whole.clock.batch == 2:
            state = copy.deepcopy(whole.state())
    whole.end_epoch()
    resumed = Training(particles, settings)
    resumed.load_state(state)
    radius = resumed.inference.radius
    train_epoch(resumed)
    assert np.array_equal(resumed.maps()[0], whole.maps()[0])
    assert radius == whole.inference.radius > 128 / 60


@pytest.mark.parametrize("stage", [AmortizedStage, DirectStage])
def test_a_checkpoint_keeps_the_radius(
    particles: Particles, settings: Settings, stage: type[AmortizedStage | DirectStage]
) -> None:
    settings.model.halves = False
    settings.stages = [stage(epochs=2, low_pass_start=60.0, low_pass_end=16.0)]
    training, resumed = Training(particles, settings), Training(particles, settings)
    first = training.inference.radius
    train_epoch(training)
    state = copy.deepcopy(training.state())
    resumed.load_state(state)
    assert resumed.inference.radius == training.inference.radius > first
    # earlier versions did not keep it
    of_radius = state["inference"] if stage is DirectStage else state["inference"]["teacher"]
    del of_radius["radius"]
    earlier = Training(particles, settings)
    earlier.load_state(state)
    assert earlier.inference.radius == first


def test_an_epoch_that_is_cut_short_ends_in_order(particles: Particles, settings: Settings) -> None:
    training = Training(particles, settings)
    epoch, steps = Epoch(training), []
    for step in epoch.steps():
        steps.append(step)
        if isinstance(step, Due) and training.clock.batch == 1:
            epoch.cut_short()
        if isinstance(step, Ending):
            assert training.inference.switch_figures is None
    assert kinds(steps) == "RDTDE"
    # what comes after the batches has come: the criterion was measured
    assert training.inference.switch_figures is not None


def test_no_other_loop_trains_batches() -> None:
    """Nor in benchmarks, which measure what runs do; the oracle refines poses of a known map."""
    source = Path(napari_cryospin.__file__).parent
    benchmarks = Path(__file__).parents[3] / "benchmarks"
    callers = {
        path.name
        for folder in (source, benchmarks)
        for path in folder.rglob("*.py")
        if ".train_batch(" in path.read_text(encoding="utf-8")
    }
    # auto-encoding passes a batch on to its teacher, that to the sums that make its map, and two
    # halves to the one that it is of
    passing = {"amortized.py", "posterior_teacher.py", "halves.py"}
    assert callers == {"epoch.py", "oracle.py"} | passing
