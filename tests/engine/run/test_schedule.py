"""When a stage ends is changed while it runs: written down, repeated, and known to a resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from disturbed import count, is_same, kill
from napari_cryospin.engine import events
from napari_cryospin.engine.run.branching import make_branch
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import AmortizedStage, DirectStage
from napari_cryospin.engine.switch_at import SwitchAt, end_of, ends_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def settings(short_settings: Settings) -> Settings:
    """Settings of a run of 3 + 2 epochs of five batches, without held-out particles or truth."""
    settings = short_settings.model_copy(deep=True)
    settings.data.truth_map = settings.data.truth_star = None
    settings.held_out = 0.0
    # a schedule of frequencies, which follows the share of the stage that is done
    settings.stages = [
        AmortizedStage(epochs=3, batch_size=40, low_pass_start=30.0, low_pass_end=10.0),
        DirectStage(epochs=2, batch_size=40),
    ]
    return settings


def inferences(run: RunFolder) -> list[str]:
    return [row["inference"] for row in run.metrics()]


def scheduled(
    run: Reconstruction, when: Callable[[events.Event], bool], at: SwitchAt | None
) -> list[events.Event]:
    seen = []
    for event in run.run():
        seen.append(event)
        if when(event):
            run.controls.set_switch(at)
    assert isinstance(event, events.Finished), event
    return seen


def test_it_is_written_down_and_repeated(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings.model_copy(deep=True), tmp_path / "run")
    seen = scheduled(run, count(events.BatchDone, 7), 4)
    assert inferences(run.folder) == ["amortized"] * 4 + ["direct"] * 2
    (told,) = [event for event in seen if isinstance(event, events.Rescheduled)]
    assert (told.at, told.ends, told.stage, told.n_epochs) == (4, 4, 0, 6)
    assert told.sentence() == "Stage 1, auto-encoding, ends after 4 of its epochs from now on."
    started = [event for event in seen if isinstance(event, events.EpochStarted)]
    assert [(one.n_epochs, one.ends) for one in started] == [(5, 3)] * 2 + [(6, 4)] * 2 + [
        (6, 2)
    ] * 2
    assert [one.stage_epoch for one in started] == [0, 1, 2, 3, 0, 1]
    (command,) = run.folder.commands()
    assert command.figures() == {
        "command": "schedule",
        "epoch": 2,
        "stage": 1,
        "start": 1,
        "batch": 2,
        "batches": 5,
        "switch_at": 4,
    }
    # the settings are those that the run began with: a repetition begins with them as well
    assert run.folder.settings().stages[0].epochs == 3
    again = Reconstruction(
        run.folder.settings(), tmp_path / "again", commands=run.folder.commands()
    )
    assert isinstance([*again.run()][-1], events.Finished)
    assert is_same(again.folder, run.folder)
    assert again.folder.commands() == run.folder.commands()


@pytest.mark.parametrize("batches", [8, 13])
def test_a_run_that_was_killed_after_it_knows_it(
    settings: Settings, tmp_path: Path, batches: int
) -> None:
    whole = Reconstruction(settings.model_copy(deep=True), tmp_path / "whole")
    scheduled(whole, count(events.BatchDone, 7), 4)
    killed = Reconstruction(settings.model_copy(deep=True), tmp_path / "killed")
    when, seventh = count(events.BatchDone, batches), count(events.BatchDone, 7)

    def steered(event: events.Event) -> bool:
        if seventh(event):
            killed.controls.set_switch(4)
        return when(event)

    kill(killed, steered)
    resumed = Reconstruction.resume(tmp_path / "killed")
    seen = [*resumed.run()]
    (started,) = [event for event in seen if isinstance(event, events.RunStarted)]
    # in the first case the command is given again, at its batch
    assert started.n_epochs == (5 if batches == 8 else 6)
    assert is_same(resumed.folder, whole.folder)


def test_a_branch_takes_it_over_and_forgets_it_for_another(
    settings: Settings, tmp_path: Path
) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    scheduled(run, count(events.BatchDone, 7), 4)
    make_branch(run.folder.path, 2, tmp_path / "same")
    assert RunFolder(tmp_path / "same").settings().stages[0].epochs == 4
    assert isinstance([*Reconstruction.resume(tmp_path / "same").run()][-1], events.Finished)
    assert inferences(RunFolder(tmp_path / "same")) == inferences(run.folder)
    make_branch(run.folder.path, 2, tmp_path / "other", switch_at=3)
    assert isinstance([*Reconstruction.resume(tmp_path / "other").run()][-1], events.Finished)
    assert inferences(RunFolder(tmp_path / "other")) == ["amortized"] * 3 + ["direct"] * 2


def test_the_present_epoch_is_the_least(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    scheduled(run, count(events.BatchDone, 7), 1)
    assert inferences(run.folder) == ["amortized"] * 2 + ["direct"] * 2


def test_never_waits_for_the_user_and_none_is_as_it_was(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    first, second = count(events.BatchDone, 2), count(events.BatchDone, 4)
    ends = []
    for event in run.run():
        if first(event):
            run.controls.set_switch("never")
        if second(event):
            run.controls.set_switch(None)
        if isinstance(event, events.Rescheduled):
            ends.append((event.at, event.ends, event.n_epochs))
    # a stage that nobody ends goes on for as many epochs as all have together
    assert ends == [("never", "never", 5), (None, 3, 5)]
    assert inferences(run.folder) == ["amortized"] * 3 + ["direct"] * 2
    assert [one.switch_at for one in run.folder.commands()] == ["never", "settings"]


def test_the_last_stage_has_no_end_to_move(settings: Settings, tmp_path: Path) -> None:
    run = Reconstruction(settings, tmp_path / "run")
    seen = scheduled(run, count(events.BatchDone, 17), 7)
    assert not [event for event in seen if isinstance(event, events.Rescheduled)]
    assert run.folder.commands() == []


@pytest.mark.parametrize("at", [0, -1, 2**40, "soon"])
def test_what_is_no_end_is_refused(at: object) -> None:
    controls = Controls()
    controls.set_switch(3)
    with pytest.raises(ValueError, match=r"^A stage "):
        controls.set_switch(at)
    # what was said before stays, once
    assert controls.take_schedule() == (3,)
    assert controls.take_schedule() is None


@pytest.mark.parametrize("at", [4, "auto", "never"])
def test_what_a_stage_says_is_what_was_said(at: SwitchAt) -> None:
    stage = Settings.from_preset("cryospin").stages[0]
    for name, value in ends_of(at).items():
        setattr(stage, name, value)
    assert end_of(stage) == at
