"""Runs beside each other: trees, curves, medians and quartiles, switch epochs, tables."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.experiments.comparison import (
    Axis,
    Curve,
    Measure,
    curve_of,
    groups_of,
    in_order,
    read_records,
    spread_of,
    switch_errors,
    table_of,
    tree_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from napari_cryospin.engine.experiments.records import RunRecord


def test_branches_hang_on_their_parents(records: dict[str, RunRecord]) -> None:
    lines = [(depth, record.name) for depth, record in in_order(tree_of(list(records.values())))]
    assert lines == [
        (0, "seed-0_switch-2"),
        (1, "seed-0_switch-1"),
        (1, "seed-0_switch-never"),
        (0, "seed-1_switch-2"),
        (1, "seed-1_switch-1"),
        (1, "seed-1_switch-never"),
    ]


def test_a_branch_without_its_parent_stands_alone(records: dict[str, RunRecord]) -> None:
    nodes = tree_of([records["seed-0_switch-1"]])
    assert [node.record.name for node in nodes] == ["seed-0_switch-1"]


def test_nobody_is_lost_where_parents_go_in_a_circle(records: dict[str, RunRecord]) -> None:
    first, second = records["seed-0_switch-1"], records["seed-0_switch-never"]
    circle = [
        dataclasses.replace(first, parent=second.folder),
        dataclasses.replace(second, parent=first.folder),
    ]
    assert {record.name for _, record in in_order(tree_of(circle))} == {first.name, second.name}


def test_a_damaged_parent_leaves_a_run(copied_experiment: Path) -> None:
    (copied_experiment / "seed-0_switch-1" / "parent.json").write_text("{")
    found, notes = read_records([copied_experiment / "seed-0_switch-1"])
    assert [record.parent for record in found] == [None] and not notes


def test_runs_are_found_in_experiments_and_by_themselves(
    finished_experiment: Path, tmp_path: Path
) -> None:
    twice = [finished_experiment / "seed-0_switch-1", finished_experiment]
    assert len(read_records(twice)[0]) == 6
    found, notes = read_records([tmp_path])
    assert found == [] and "is no run folder, and holds none" in notes[0]


def test_spans_and_marks_of_a_run(records: dict[str, RunRecord]) -> None:
    record = records["seed-0_switch-2"]
    spans = [(span.inference.option, span.begin, span.end) for span in record.spans]
    assert spans == [("encode", 0.0, 2.0), ("decode", 2.0, 3.0)]
    curve = curve_of(record, Measure.MEAN_ERROR, Axis.EPOCH)
    assert curve.switches == (2.0,)
    np.testing.assert_array_equal(curve.x, [1, 2, 3])
    errors = [done.mean_pose_error for done in record.history]
    np.testing.assert_array_equal(curve.y, errors)


def test_seconds_add_up(records: dict[str, RunRecord]) -> None:
    record = records["seed-0_switch-1"]
    curve = curve_of(record, Measure.LOSS, Axis.SECONDS)
    np.testing.assert_allclose(curve.x, np.cumsum([done.seconds for done in record.history]))
    assert curve.switches == (pytest.approx(record.history[0].seconds),)
    assert record.own_seconds == pytest.approx(record.history[1].seconds)


def test_what_was_not_measured_is_left_out(records: dict[str, RunRecord]) -> None:
    record = records["seed-0_switch-2"]
    history = (
        record.history[0],
        dataclasses.replace(record.history[1], resolution=None),
        record.history[2],
    )
    curve = curve_of(dataclasses.replace(record, history=history), Measure.RESOLUTION, Axis.EPOCH)
    np.testing.assert_array_equal(curve.x, [1, 3])


def test_median_and_quartiles_where_all_curves_are() -> None:
    x = np.arange(5.0)
    curves = [Curve("", x, np.full(5, value)) for value in (1.0, 2.0, 3.0, 4.0, 10.0)]
    curves.append(Curve("", np.array([1.0, 3.0]), np.array([5.0, 7.0])))
    found = spread_of("all", curves)
    np.testing.assert_array_equal(found.x, [1, 2, 3])
    values = np.array([[1, 2, 3, 4, 10, last] for last in (5, 6, 7)])
    np.testing.assert_allclose(found.y, np.median(values, axis=1))
    np.testing.assert_allclose(found.low, np.quantile(values, 0.25, axis=1))
    np.testing.assert_allclose(found.high, np.quantile(values, 0.75, axis=1))
    assert (found.name, found.number) == ("all", 6)


def test_switches_of_a_group_are_those_that_all_have() -> None:
    x = np.arange(9.0)
    curves = [Curve("", x, x, switches=places) for places in ((2.0, 5.0), (2.0, 6.0), (2.0,))]
    assert spread_of("", curves).switches == (2.0,)
    assert spread_of("", curves[:1] * 2).switches == (2.0, 5.0)
    assert spread_of("", [*curves, Curve("", x, x, switches=(1.0,))]).switches == ()


def test_one_run_and_none_have_no_band() -> None:
    one = Curve("a", np.array([1.0]), np.array([2.0]))
    assert spread_of("group", [one]).low is None
    assert len(spread_of("group", []).x) == 0


def test_groups_differ_in_more_than_the_seed(records: dict[str, RunRecord]) -> None:
    groups = groups_of(list(records.values()))
    assert {name: sorted(r.name for r in group) for name, group in groups.items()} == {
        f"switch_at {switch}": [f"seed-{seed}_switch-{switch}" for seed in (0, 1)]
        for switch in (1, 2, "never")
    }
    alone = groups_of([records["seed-0_switch-1"], records["seed-1_switch-1"]])
    assert list(alone) == ["all runs"]


def test_final_errors_by_switch_epoch(records: dict[str, RunRecord]) -> None:
    (found,) = switch_errors(list(records.values())).values()
    np.testing.assert_array_equal(found.curve.x, [1, 2])
    for place, switch in enumerate((1, 2)):
        last = [records[f"seed-{s}_switch-{switch}"].history[-1].mean_pose_error for s in (0, 1)]
        assert found.curve.y[place] == pytest.approx(np.median(last))
    never = [records[f"seed-{s}_switch-never"].history[-1].mean_pose_error for s in (0, 1)]
    assert found.never == pytest.approx(np.median(never))
    assert len(found.automatic) == 0


def test_an_automatic_switch_is_told_apart(records: dict[str, RunRecord]) -> None:
    record = records["seed-0_switch-2"]
    settings = record.settings.model_copy(deep=True)
    settings.stages[0].until = "criterion"
    automatic = dataclasses.replace(record, settings=settings)
    (found,) = switch_errors([automatic, records["seed-0_switch-1"]]).values()
    error = record.history[-1].mean_pose_error
    np.testing.assert_allclose(found.automatic, [[2, error]])
    np.testing.assert_array_equal(found.curve.x, [1])


def test_the_table_has_what_differs_and_the_figures(records: dict[str, RunRecord]) -> None:
    columns, rows = table_of(list(records.values()))
    assert columns[:4] == ("run", "state", "seed", "switch_at")
    assert "model.heads" not in columns and "mean_pose_error_deg" in columns
    row = next(row for row in rows if row["run"] == "seed-1_switch-never")
    assert (row["seed"], row["switch_at"], row["switched_after"]) == ("1", "never", "")
    assert (row["branch_of"], row["branched_at"]) == ("seed-1_switch-2", "2")


def test_what_is_shared_is_on_the_disk_once(finished_experiment: Path) -> None:
    parent, branch = (
        finished_experiment / f"seed-0_switch-{k}" / "volumes" / "epoch_0000.mrc" for k in (2, 1)
    )
    assert parent.samefile(branch)
    told = json.loads((finished_experiment / "seed-0_switch-1" / "parent.json").read_text())
    assert told["epoch"] == 1
