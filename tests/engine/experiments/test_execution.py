"""Experiments that are run: branches, rows, kills, refusals, and what fails."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine import events
from napari_cryospin.engine.experiments import events as told
from napari_cryospin.engine.experiments.execution import ExperimentRun
from napari_cryospin.engine.experiments.results import TABLE, CellState, read_results
from napari_cryospin.engine.run.controls import Controls
from napari_cryospin.engine.run.reconstruction import Reconstruction
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.parent import read_parent
from small_experiments import small_plan

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.experiments.plan import Experiment
    from napari_cryospin.engine.experiments.records import RunRecord

pytestmark = pytest.mark.usefixtures("small_searches")


def run(plan: Experiment, folder: Path, controls: Controls | None = None) -> list[events.Event]:
    return list(ExperimentRun(plan, folder, controls, threads=1).run())


def done(stream: list[events.Event]) -> dict[str, CellState]:
    ends = [event.result for event in stream if isinstance(event, told.CellDone)]
    return {result.cell.name: result.state for result in ends}


def test_cells_of_one_trunk_branch_off_from_the_longest(
    finished_experiment: Path, records: dict[str, RunRecord]
) -> None:
    assert set(records) == {
        f"seed-{seed}_switch-{switch}" for seed in (0, 1) for switch in (1, 2, "never")
    }
    for seed in (0, 1):
        trunk = records[f"seed-{seed}_switch-2"]
        assert trunk.parent is None and trunk.switched_after == 2
        early, never = (records[f"seed-{seed}_switch-{k}"] for k in (1, "never"))
        assert (early.parent, early.shared, early.switched_after) == (trunk.folder, 1, 1)
        assert (never.parent, never.shared, never.switched_after) == (trunk.folder, 2, None)
        # as many epochs as the longest that switches
        assert len(never.history) == len(trunk.history) == 3
        assert early.history[0] == trunk.history[0]
    assert read_parent(RunFolder(finished_experiment / "seed-0_switch-1")).switch_at == 1


def test_a_branched_cell_is_the_run_that_it_would_be_alone(
    tiny_stack: Path, tmp_path: Path
) -> None:
    plan = small_plan(tiny_stack)
    cells = [event for event in run(plan, tmp_path / "out") if isinstance(event, told.CellDone)]
    cell = cells[1].result.cell
    assert cell.switch_at == 1
    settings = cell.settings.model_copy(deep=True)
    settings.threads = 1
    *_, last = Reconstruction(settings, tmp_path / "alone").run()
    assert isinstance(last, events.Finished)
    alone, branched = (
        RunFolder(p).poses() for p in (tmp_path / "alone", tmp_path / "out" / cell.name)
    )
    np.testing.assert_array_equal(branched.rotations, alone.rotations)


def test_a_row_per_cell_with_its_settings_and_figures(
    finished_experiment: Path, records: dict[str, RunRecord]
) -> None:
    rows = read_results(finished_experiment / TABLE)
    assert set(rows) == set(records)
    row, record = rows["seed-1_switch-1"], records["seed-1_switch-1"]
    assert (row["seed"], row["switch_at"], row["model.heads"]) == ("1", "1", "2")
    assert row["state"] == "finished" and row["switched_after"] == "1"
    assert float(row["mean_pose_error_deg"]) == pytest.approx(
        record.history[-1].mean_pose_error, abs=1e-3
    )
    assert row["verdict"] == record.verdict.outcome
    # of its own epochs, and as if it had been run alone
    own, whole = float(row["seconds"]), float(row["seconds_alone"])
    assert whole - own == pytest.approx(record.history[0].seconds, abs=0.11)
    assert rows["seed-0_switch-2"]["seconds"] == rows["seed-0_switch-2"]["seconds_alone"]


def test_rows_come_as_cells_end(tiny_stack: Path, tmp_path: Path) -> None:
    seen = []
    for event in ExperimentRun(small_plan(tiny_stack), tmp_path / "out", threads=1).run():
        if isinstance(event, told.CellDone):
            seen.append(list(read_results(tmp_path / "out" / TABLE)))
    assert seen == [["seed-0_switch-2"], ["seed-0_switch-2", "seed-0_switch-1"]]


def test_the_stream_ends_once_and_says_how_far_it_is(tiny_stack: Path, tmp_path: Path) -> None:
    stream = run(small_plan(tiny_stack, seed=[0, 1]), tmp_path / "out")
    ends = [e for e in stream if isinstance(e, told.ExperimentFinished | events.Failed)]
    assert ends == [stream[-1]]
    assert (stream[-1].n_finished, stream[-1].n_failed, stream[-1].stopped) == (4, 0, False)
    progress = [event for event in stream if isinstance(event, told.CellProgress)]
    assert progress[0].seconds_left is None
    # known once a trunk and a branch have ended
    assert progress[-1].seconds_left is not None and progress[-1].seconds_left >= 0
    assert [(p.number, p.epoch) for p in progress if p.number == 2] == [(2, 0), (2, 2)]


def test_a_stop_keeps_all_and_a_second_run_goes_on(tiny_stack: Path, tmp_path: Path) -> None:
    plan, out, controls = small_plan(tiny_stack, switch_at=[1, 4]), tmp_path / "out", Controls()
    states = []
    for event in ExperimentRun(plan, out, controls, threads=1).run():
        if isinstance(event, told.CellEvent) and isinstance(event.event, events.EpochDone):
            controls.stop(results=False)
        if isinstance(event, told.CellDone):
            states.append(event.result.state)
    assert isinstance(event, told.ExperimentFinished) and event.stopped
    assert states == [CellState.STOPPED]
    half = RunFolder(out / "seed-0_switch-4")
    assert len(half.history()) == 1 and not read_results(out / TABLE)

    again = run(plan, out)
    started = [event for event in again if isinstance(event, told.CellStarted)]
    assert started[0].resumed and "goes on" in started[0].sentence()
    assert done(again) == dict.fromkeys(("seed-0_switch-4", "seed-0_switch-1"), CellState.FINISHED)
    # the branch was made where the trunk had been stopped before
    assert started[1].branch_of == "seed-0_switch-4"

    third = run(plan, out)
    assert done(third) == {} and third[-1].n_finished == 2
    assert set(read_results(out / TABLE)) == {"seed-0_switch-4", "seed-0_switch-1"}


def test_rows_are_made_of_the_folders_again(
    finished_experiment: Path, copied_experiment: Path
) -> None:
    # killed between the end of a cell and its row
    before = (copied_experiment / TABLE).read_bytes()
    (copied_experiment / TABLE).unlink()
    from napari_cryospin.engine.experiments.plan import PLAN, Experiment

    run(Experiment.from_toml(copied_experiment / PLAN), copied_experiment)
    assert (copied_experiment / TABLE).read_bytes() == before


def test_another_experiment_is_refused(copied_experiment: Path, tiny_stack: Path) -> None:
    (end,) = run(small_plan(tiny_stack, seed=[5]), copied_experiment)
    assert isinstance(end, events.Failed) and end.bad_input
    assert "holds another experiment" in end.message and "\n" not in end.message


def test_a_folder_of_others_is_refused_and_left_alone(tiny_stack: Path, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("mine")
    (end,) = run(small_plan(tiny_stack), tmp_path)
    assert isinstance(end, events.Failed) and "is not empty" in end.message
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_a_cell_that_fails_is_a_row_and_the_others_go_on(tiny_stack: Path, tmp_path: Path) -> None:
    lost = tmp_path / "lost" / "particles.star"
    plan = small_plan(
        tiny_stack,
        stack=[lost, tiny_stack / "particles.star"],
        truth_star=[],
        truth_map=[],
        switch_at=[1],
    )
    stream = run(plan, tmp_path / "out")
    assert list(done(stream).values()) == [CellState.FAILED, CellState.FINISHED]
    with (tmp_path / "out" / TABLE).open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["state"] == "failed" and "particles.star" in first["message"]
    assert second["state"] == "finished"
    assert (stream[-1].n_finished, stream[-1].n_failed) == (1, 1)


def test_a_trunk_that_failed_leaves_its_branches_to_run_alone(
    tiny_stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan(tiny_stack)
    original = Reconstruction.run

    def broken(self: Reconstruction) -> object:
        if self.folder.path.name == "seed-0_switch-2":
            yield events.Failed("It fell over.", "")
            return
        yield from original(self)

    monkeypatch.setattr(Reconstruction, "run", broken)
    stream = run(plan, tmp_path / "out")
    assert done(stream) == {
        "seed-0_switch-2": CellState.FAILED,
        "seed-0_switch-1": CellState.FINISHED,
    }
    started = [event for event in stream if isinstance(event, told.CellStarted)]
    assert started[1].branch_of is None
    # tried again, and only this one
    monkeypatch.undo()
    assert done(run(plan, tmp_path / "out")) == {"seed-0_switch-2": CellState.FINISHED}


def test_auto_is_a_cell_and_the_trunk_of_the_others(tiny_stack: Path, tmp_path: Path) -> None:
    # its criterion has no time to end it: the number of epochs does
    plan = small_plan(tiny_stack, {"amortized.epochs": 2}, switch_at=[1, 3, "auto"])
    run(plan, tmp_path / "out")
    from napari_cryospin.engine.experiments.records import read_record

    found = {k: read_record(tmp_path / "out" / f"seed-0_switch-{k}") for k in (1, 3, "auto")}
    assert {k: record.switched_after for k, record in found.items()} == {1: 1, 3: 3, "auto": 2}
    # the longer one goes on where the automatic switch was
    assert found[3].parent == found["auto"].folder and found[3].shared == 2
    assert found[1].shared == 1
