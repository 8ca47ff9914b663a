"""Runs and branches beside each other in a real window."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cryospin.engine.experiments.comparison import Axis, Measure
from napari_cryospin.engine.experiments.records import read_record
from napari_cryospin.gui.canvas.layers import VOLUME
from napari_cryospin.gui.canvas.two_maps import FIRST, SECOND
from napari_cryospin.gui.colours import stage_colour
from napari_cryospin.gui.laboratory.compare_panel import ComparePanel
from napari_cryospin.gui.views.export import save_data, save_figure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.dock import CryoSpinDock
    from napari_cryospin.gui.work.session import Session

LONG = 180_000
SIX = [f"seed-{seed}_switch-{switch}" for seed in (0, 1) for switch in (2, 1, "never")]


@pytest.fixture
def panel(qtbot: QtBot, session: Session, finished_experiment: Path) -> Iterator[ComparePanel]:
    """The panel alone, with the runs of an experiment."""
    from napari.components import ViewerModel

    panel = ComparePanel(session, ViewerModel())
    qtbot.addWidget(panel)
    panel.resize(1000, 400)
    panel.show()
    panel.add(finished_experiment)
    qtbot.waitUntil(lambda: len(panel.tree.compared()) == 6, timeout=LONG)
    return panel


def names(panel: ComparePanel) -> list[str]:
    return [record.name for record in panel.tree.compared()]


def test_a_tree_with_stages_in_colour(panel: ComparePanel) -> None:
    assert names(panel) == SIX
    first = panel.tree.topLevelItem(0)
    assert (panel.tree.topLevelItemCount(), first.childCount()) == (2, 2)
    # the bar is drawn: auto-encoding at its left, auto-decoding at its right
    image = panel.tree.viewport().grab().toImage()
    rect = panel.tree.visualItemRect(first)
    bar = panel.tree.header().sectionViewportPosition(1)
    width, ratio = panel.tree.columnWidth(1), image.devicePixelRatio()
    y = int(ratio * rect.center().y())
    record = panel.tree.compared()[0]
    for share, span in zip((0.2, 0.85), record.spans, strict=True):
        x = int(ratio * (bar + share * width))
        assert image.pixelColor(x, y).name() == stage_colour(span.inference).lower()


def test_parent_and_branch_are_compared(panel: ComparePanel, finished_experiment: Path) -> None:
    panel.tree.select_all(False)
    assert names(panel) == [] and not panel.maps.show_maps.isEnabled()
    parent = panel.tree.topLevelItem(0)
    for item in (parent, parent.child(0)):
        item.setCheckState(0, Qt.CheckState.Checked)
    assert names(panel) == ["seed-0_switch-2", "seed-0_switch-1"]
    columns = panel.curves.table()
    assert list(dict.fromkeys(columns["run"])) == names(panel)
    for name in names(panel):
        record = read_record(finished_experiment / name)
        mine = columns["run"] == name
        np.testing.assert_array_equal(columns["epoch"][mine], record.epochs_at)
        np.testing.assert_allclose(
            columns["mean pose error (°)"][mine],
            [done.mean_pose_error for done in record.history],
        )
    # they are one until the branch
    shared = [columns["mean pose error (°)"][columns["run"] == name][0] for name in names(panel)]
    assert shared[0] == shared[1]


def test_every_measure_against_epochs_and_seconds(panel: ComparePanel) -> None:
    for axis in Axis:
        panel.axis.setCurrentText(str(axis))
        for measure in Measure:
            panel.measure.setCurrentText(str(measure))
            columns = panel.curves.table()
            assert len(columns["run"]) >= 6, measure
            assert f"{str(measure).lower()} ({measure.unit})" in columns
    assert "seconds of training" in columns


def test_median_and_band_over_seeds(panel: ComparePanel) -> None:
    panel.over_seeds.setChecked(True)
    columns = panel.curves.table()
    assert set(columns["run"]) == {"switch_at 1", "switch_at 2", "switch_at never"}
    value = columns["mean pose error (°)"]
    assert (columns["lower quartile"] <= value).all() and (value <= columns["upper quartile"]).all()


def test_final_error_against_switch_epoch(panel: ComparePanel, tmp_path: Path) -> None:
    columns = panel.switch.table()
    assert list(columns["switch"]) == ["fixed", "fixed", "never"]
    assert list(columns["switched after (epochs)"][:2]) == [1, 2]
    panel.tabs.setCurrentIndex(1)
    for name in ("switch.png", "switch.svg"):
        save_figure(panel.switch, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    save_data(panel.switch, tmp_path / "switch.csv")
    assert len((tmp_path / "switch.csv").read_text().splitlines()) == 4


def test_the_table_sorts_and_is_saved_as_it_is_sorted(panel: ComparePanel, tmp_path: Path) -> None:
    view = panel.table.view
    place = [view.horizontalHeaderItem(k).text() for k in range(view.columnCount())].index(
        "mean error (°)"
    )
    view.sortItems(place, Qt.SortOrder.DescendingOrder)
    errors = [float(row["mean_pose_error_deg"]) for row in panel.table.rows()]
    assert errors == sorted(errors, reverse=True)
    for name, delimiter in (("runs.csv", ","), ("runs.tsv", "\t")):
        panel.table.write(tmp_path / name)
        with (tmp_path / name).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter))
        assert rows == panel.table.rows()
    messages: list[str] = []
    panel.message.connect(messages.append)
    panel.table.write(tmp_path / "runs.txt")
    assert messages == ["runs.txt: tables are written as .csv or .tsv."]


def test_numbers_sort_as_numbers_and_nothing_comes_last(panel: ComparePanel) -> None:
    rows = [{"run": str(k), "value": text} for k, text in enumerate(("10", "", "9", "a"))]
    panel.table.show_rows(("run", "value"), rows)
    panel.table.view.sortItems(1, Qt.SortOrder.AscendingOrder)
    assert [row["value"] for row in panel.table.rows()] == ["9", "10", "a", ""]


def test_a_run_that_is_removed_stays_away(panel: ComparePanel) -> None:
    item = panel.tree.topLevelItem(0).child(0)
    item.setSelected(True)
    panel.remove.click()
    assert "seed-0_switch-1" not in names(panel) and len(names(panel)) == 5
    panel._read()
    assert len(names(panel)) == 5


def test_what_is_no_run_is_said(qtbot: QtBot, panel: ComparePanel, tmp_path: Path) -> None:
    with qtbot.waitSignal(panel.message, timeout=LONG) as told:
        panel.add(tmp_path)
    assert "is no run folder, and holds none" in told.args[0]
    assert len(names(panel)) == 6


def test_a_narrow_dock_has_its_tree_above(qtbot: QtBot, panel: ComparePanel) -> None:
    assert panel.splitter.orientation() == Qt.Orientation.Horizontal
    panel.resize(420, 700)
    qtbot.waitUntil(lambda: panel.splitter.orientation() == Qt.Orientation.Vertical)
    assert panel.width() == 420


def test_two_maps_and_what_is_between(
    qtbot: QtBot, dock: CryoSpinDock, finished_experiment: Path
) -> None:
    layers = dock.viewer.layers
    with qtbot.waitSignal(dock.session.run_opened, timeout=LONG):
        dock.session.open_run(finished_experiment / "seed-0_switch-2")
    qtbot.waitUntil(lambda: VOLUME in layers and layers[VOLUME].visible, timeout=LONG)
    dock.open_compare.click()
    assert dock.compare.isVisible()
    for switch in (2, 1):
        dock.compare.add(finished_experiment / f"seed-0_switch-{switch}")
    qtbot.waitUntil(lambda: len(dock.compare.tree.compared()) == 2, timeout=LONG)
    page = dock.compare.maps
    dock.compare.tabs.setCurrentWidget(page)
    page.show_maps.click()
    qtbot.waitUntil(lambda: FIRST in layers and SECOND in layers, timeout=LONG)
    assert not layers[VOLUME].visible
    assert layers[FIRST].opacity == layers[SECOND].opacity == 1
    assert "turned into the frame of the first" in page.note.text()
    page.slider.setValue(0)
    assert (layers[FIRST].opacity, layers[SECOND].opacity) == (1, 0)
    page.slider.setValue(75)
    assert (layers[FIRST].opacity, layers[SECOND].opacity) == (0.5, 1)
    # a layer that the user deletes is no trouble
    layers.remove(SECOND)
    page.slider.setValue(100)
    page.put_away.click()
    assert layers[VOLUME].visible and not layers[FIRST].visible
    dock.open_compare.click()
    assert not dock.compare.isVisible()
