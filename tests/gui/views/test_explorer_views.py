"""The explorer's views, each by itself with plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.geometry.sphere import angles_of_pixels
from napari_cryospin.engine.run.survey import EpochSurvey
from napari_cryospin.engine.switch_figures import WeightBin
from napari_cryospin.gui.views import gnomonic
from napari_cryospin.gui.views.candidates_view import Candidates, CandidatesView
from napari_cryospin.gui.views.export import save_data, save_figure
from napari_cryospin.gui.views.heads_view import HeadsView
from napari_cryospin.gui.views.mode_table import ModeRows, ModeTable
from napari_cryospin.gui.views.mollweide import direction_of
from napari_cryospin.gui.views.mollweide_view import (
    NO_CANDIDATES,
    CandidateMarks,
    Marks,
    MollweideView,
)
from napari_cryospin.gui.views.particle_table import ParticleTableView
from napari_cryospin.gui.views.survey_views import (
    HeadCoverageView,
    ModesOverEpochs,
    ReliabilityView,
    WeightsView,
)
from napari_cryospin.gui.views.views_view import ViewsView, describe
from napari_cryospin.gui.views.zoom_view import ZoomView

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot


@pytest.mark.parametrize("centre", [(0, 0, 1.0), (0, 0, -1.0), (0.6, 0, 0.8), (-0.6, 0.8, 0)])
def test_gnomonic_points_come_back(centre: tuple[float, float, float]) -> None:
    x, y = np.array([0.0, 5, -12, 3]), np.array([0.0, -5, 1, 14])
    directions = gnomonic.unproject(x, y, centre)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    back = gnomonic.project(directions, centre)
    assert np.allclose(back, (x, y))
    # distances from the middle are degrees, for small ones
    assert np.degrees(np.arccos(directions[1] @ np.array(centre))) == pytest.approx(7.07, abs=0.1)


def test_gnomonic_east_and_north_are_rot_and_tilt() -> None:
    centre, east, north = direction_of(30, 60), direction_of(31, 60), direction_of(30, 59)
    assert gnomonic.project(east, centre)[0] > 0.5
    assert gnomonic.project(north, centre)[1] > 0.9
    assert np.isnan(gnomonic.project(-centre, centre)[0])


def test_the_patch_shows_each_pixel_where_it_is() -> None:
    pixels = np.array([1000, 5000])
    tilt, rot = np.degrees(angles_of_pixels(5000, 64, nest=True))
    centre = direction_of(rot, tilt)
    shown = gnomonic.patch(pixels, np.array([0.25, 0.75]), 64, centre, 10)
    assert set(np.unique(shown)) == {0.0, 0.75}
    row, column = np.argwhere(shown).mean(0)
    assert (row, column) == pytest.approx((59.5, 59.5), abs=1)


@pytest.fixture
def table(qtbot: QtBot) -> ParticleTableView:
    table = ParticleTableView()
    qtbot.addWidget(table)
    table.resize(500, 400)
    table.show()
    table.set_columns(columns())
    return table


def columns(n: int = 50) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    loss = rng.random(n).astype(np.float32)
    loss[3] = np.nan
    return {"particle": np.arange(n), "loss": loss, "used": np.ones(n, dtype=bool)}


def test_a_click_on_a_header_sorts_with_nan_last(qtbot: QtBot, table: ParticleTableView) -> None:
    header = table.view.horizontalHeader()
    place = QPoint(header.sectionViewportPosition(3) + 8, 6)
    for _ in range(2):
        qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
        loss = table.model.columns["loss"][table.model.order]
        assert np.isnan(loss[-1])
        steps = np.diff(loss[:-1])
        assert (steps >= 0).all() or (steps <= 0).all()
    assert table.view.isColumnHidden(1)
    assert not table.view.isColumnHidden(3)


def test_scales_and_fits_are_shown_sorted_and_saved(qtbot: QtBot, table: ParticleTableView) -> None:
    assert all(table.view.isColumnHidden(place) for place in (4, 5, 6, 7))
    rng = np.random.default_rng(1)
    fits = {name: rng.random(50) for name in ("scale", "membership", "log_likelihood", "explained")}
    fits["explained"][7] = np.nan
    table.set_columns(columns() | fits)
    header = table.view.horizontalHeader()
    for place, name in zip((4, 5, 6, 7), fits, strict=True):
        assert not table.view.isColumnHidden(place)
        # names can be read, also those of two lines
        words = str(table.model.headerData(place, Qt.Orientation.Horizontal)).split("\n")
        wanted = max(header.fontMetrics().horizontalAdvance(word) for word in words)
        assert header.sectionSize(place) > wanted
        table.view.sortByColumn(place, Qt.SortOrder.AscendingOrder)
        shown = fits[name][table.model.order]
        assert (np.diff(shown[np.isfinite(shown)]) >= 0).all()
    assert table.model.order[-1] == 7
    assert {"scale", "membership", "log_likelihood_nats", "explained"} <= set(table.table())


def test_selection_and_order_survive_an_update(qtbot: QtBot, table: ParticleTableView) -> None:
    table.view.sortByColumn(3, Qt.SortOrder.DescendingOrder)
    table.select(np.array([4, 9, 30]))
    table.choose(9)
    new = columns()
    new["loss"] = 1 - new["loss"]
    with qtbot.assertNotEmitted(table.particle_chosen):
        table.set_columns(new)
    loss = table.model.columns["loss"][table.model.order][:-1]
    assert (np.diff(loss) <= 0).all()
    assert 9 in table.selected
    assert table.model.particle_at(table.view.currentIndex().row()) == 9


def test_the_keyboard_chooses_a_particle(qtbot: QtBot, table: ParticleTableView) -> None:
    with qtbot.assertNotEmitted(table.particle_chosen):
        table.choose(5)
    with qtbot.waitSignal(table.particle_chosen) as chosen:
        qtbot.keyClick(table.view, Qt.Key.Key_Down)
    assert chosen.args == [6]


def test_buttons_carry_the_selection(qtbot: QtBot, table: ParticleTableView) -> None:
    table.select(np.array([7, 2]))
    assert table.count.text() == "2 of 50 selected"
    with qtbot.waitSignal(table.drop_asked) as asked:
        qtbot.mouseClick(table.drop, Qt.MouseButton.LeftButton)
    assert list(asked.args[0]) == [2, 7]
    table.view.clearSelection()
    assert not table.drop.isEnabled()


def test_a_large_table_sorts_at_once(qtbot: QtBot) -> None:
    table = ParticleTableView()
    qtbot.addWidget(table)
    table.set_columns(columns(100_000))
    table.view.sortByColumn(3, Qt.SortOrder.AscendingOrder)
    assert table.model.rowCount() == 100_000
    assert np.isnan(table.model.columns["loss"][table.model.order[-1]])


def test_heads_can_change_in_number(qtbot: QtBot, tmp_path: Path) -> None:
    view = HeadsView()
    qtbot.addWidget(view)
    view.show()
    rng = np.random.default_rng(0)
    for heads in (3, 7, 2):
        values = rng.random((heads, 192))
        values[0, :5] = np.nan
        view.set_cells(values, 4, "mean loss")
        view.set_history(np.arange(3), np.full((3, heads), 1 / heads), (2, 3))
        assert len(view._maps) == heads
        assert len(view.table()) == 3 + heads
    save_data(view, tmp_path / "heads.csv")
    assert (tmp_path / "heads.csv").read_text().startswith("rot_deg,tilt_deg,figure,head_1")
    view.clear()
    assert view.table() == {}
    view.set_cells(values, 4, "mean loss")
    assert len(view._maps) == 2


def test_views_are_counted_in_words(qtbot: QtBot) -> None:
    view = ViewsView()
    qtbot.addWidget(view)
    counts = np.full(48, 2)
    counts[:2] = (8, 0)
    view.set_views(counts, 2)
    view.set_in_plane(np.array([5.0, 6, 359, -1]))
    assert describe(counts) == (
        "100 particles · most crowded direction 3.8 × the mean · 1 of 48 directions empty"
    )
    view.set_views(counts, 2, 0.934)
    assert "sampling compensation factor 0.93" in view.text.text()
    assert list(view._histogram.opts["height"][[0, -1]]) == [2, 2]
    assert "particles" in view.describe(0.0, 0.0)
    assert view.describe(1.99, 0.99) == ""


def test_candidates_have_a_column_each_and_the_winner_a_ring(qtbot: QtBot) -> None:
    view = CandidatesView()
    qtbot.addWidget(view)
    view.show()
    rng = np.random.default_rng(0)
    image = rng.normal(size=(16, 16)).astype(np.float32)
    for heads in (7, 3):
        projections = rng.normal(size=(heads, 16, 16)).astype(np.float32)
        losses, distances = rng.random(heads), 10.0 * np.arange(heads)
        said, numbers = ({2: 3, 0: 1},) + ({1: 1},) * (heads - 1), np.full(heads, 4)
        weights = np.append(1.0, np.zeros(heads - 1))
        view.set_candidates(
            Candidates(image, projections, losses, weights, said, numbers, 1, distances, distances)
        )
        assert len(view._images) == heads
        assert np.allclose(view._images[2][2].image, image - projections[2])
        assert "○" in view._labels[1].text
        assert "○" not in view._labels[0].text
    assert list(view.table()["winner"]) == [0, 1, 0]
    assert list(view.table()["head"]) == [3, 2, 2] and list(view.table()["heads"]) == [2, 1, 1]
    # all of the first mode's are told, of the others four each but one
    assert "<b>3</b>×3" in view._labels[0].text and "100 %" in view._labels[0].text
    assert "(4)" in view._labels[1].text and "&lt; 1 %" in view._labels[1].text
    assert "(4)" not in view._labels[0].text


def test_the_trail_has_gaps_at_the_edge_and_two_colours(qtbot: QtBot) -> None:
    view = MollweideView()
    qtbot.addWidget(view)
    index = np.stack([direction_of(rot, 90) for rot in (170, 179, -179, -170)])
    decoding = np.array([False, False, False, True])
    marks = Marks(NO_CANDIDATES, trail=index, decoding=decoding, now=3)
    view.set_marks(marks)
    x, _ = view._trail._encoding.getData()
    assert len(x) == 3
    # over the edge there is no line
    assert list(view._trail._encoding.opts["connect"]) == [1, 0, 0]
    assert len(view._trail._decoding.getData()[0]) == 2
    assert len(view._trail._now.data) == 1


def test_marks_off_the_patch_are_left_out(qtbot: QtBot) -> None:
    view = ZoomView()
    qtbot.addWidget(view)
    views = random_rotations(5, np.random.default_rng(0))[:, 2]
    view.set_posterior(np.array([0]), np.ones(1), 64)
    view.set_centre(views[0])
    two = np.stack((views[0], -views[0]))
    told = CandidateMarks(two, np.array([3, 1]), np.ones(2), np.array([0]), 0)
    view.set_marks(Marks(told, present=-views[0]))
    assert len(view._points.data) == 1
    assert len(view._present.data) == 0


def test_numbers_stand_on_modes_and_others_are_small(qtbot: QtBot) -> None:
    view = MollweideView()
    qtbot.addWidget(view)
    places = np.stack([direction_of(rot, 90) for rot in (0, 3, 5, 120, 123)])
    told = CandidateMarks(
        places, np.array([1, 0, 1, 2, 2]), np.array([0.9, 0.9, 0.9, 0.1, 0.1]), np.array([1, 3]), 2
    )
    view.set_marks(Marks(told))
    shown = [text.toPlainText() for text in view._numbers if text.isVisible()]
    assert shown == ["1", "3"]
    assert len(view._small.data) == 3 and len(view._ring.data) == 1
    # the light one first, smaller and fainter
    sizes = [point.size() for point in view._small.points()]
    alphas = [point.brush().color().alphaF() for point in view._small.points()]
    assert sizes[0] < sizes[1] and alphas[0] < alphas[1]


def test_modes_are_told_and_chosen(qtbot: QtBot) -> None:
    table = ModeTable()
    qtbot.addWidget(table)
    table.show()
    angles = np.array([[10, 20, 30], [40, 50, 60.0]])
    heads, modes = np.array([0, 1, 2, 2]), np.array([1, -1, 1, 1])
    weights, apart = np.array([0.9, 0.1]), np.array([0, 178.0])
    table.set_modes(ModeRows(weights, apart, angles, heads, modes, 1))
    texts = [table.item(1, column).text() for column in range(6)]
    assert texts == ["B", "10.0 %", "178°", "40°, 50°, 60°", "1 3×2", "★"]
    place = table.visualItemRect(table.item(1, 1)).center()
    with qtbot.waitSignal(table.chosen) as chosen:
        qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert chosen.args == [1]


def test_surveys_are_curves_over_epochs(qtbot: QtBot) -> None:
    view = ModesOverEpochs()
    qtbot.addWidget(view)
    surveys = [
        EpochSurvey(0, "amortized", 0.9, 3.0, 180.0, 0.5, winner_in_best_mode=0.1),
        EpochSurvey(1, "direct", 0.2, 0.1, 178.0, 1.0),
    ]
    view.set_surveys(surveys)
    x, y = view.curve("several").getData()
    assert (list(x), list(y)) == ([1, 2], [90, 20])
    assert list(view.curve("in best").getData()[1]) == [10]
    assert np.isnan(view.table()["winner_in_best_mode"][1])


def test_weights_are_compared_with_posterior_and_truth(qtbot: QtBot) -> None:
    view, coverage = WeightsView(), HeadCoverageView()
    for widget in (view, coverage):
        qtbot.addWidget(widget)
    bins = (WeightBin(0.1, 0.12, 40), WeightBin(0.9, 0.88, 400))
    known = {"coverage": 0.98, "random_coverage": 0.05, "calibration_error": 0.02}
    survey = EpochSurvey(4, "amortized", 0.9, 3.0, 180.0, 0.5, weights=bins, **known)
    view.set_survey(survey)
    coverage.set_surveys([survey, EpochSurvey(5, "direct", 0.2, 0.1, 178.0, 1.0)])
    x, y = view.curve.getData()
    assert np.allclose(x, [10, 90]) and np.allclose(y, [12, 88])
    assert view.by_truth.getData()[0] is None or not len(view.by_truth.getData()[0])
    assert "epoch 5" in view._title and "posterior 2 % off" in view._title
    assert list(view.table()["modes"]) == [40, 400]
    assert [list(v) for v in coverage.curve("heads").getData()] == [[5], [98]]
    assert "weights" not in coverage.table()
    view.set_survey(None)
    assert len(view.table()["weight"]) == 0


def test_a_calibrated_posterior_is_on_the_diagonal(qtbot: QtBot) -> None:
    view = ReliabilityView()
    qtbot.addWidget(view)
    view.set_levels((np.arange(1000) + 0.5) / 1000)
    found = view.table()
    assert np.allclose(found["share_of_true_poses"], found["credible_set"], atol=0.01)
    view.forget()
    assert np.isnan(view.table()["share_of_true_poses"]).all()


def test_saving_leaves_the_screen_as_it_is(qtbot: QtBot, tmp_path: Path) -> None:
    view = MollweideView()
    qtbot.addWidget(view)
    view.resize(400, 250)
    view.show()
    view.set_posterior(np.random.default_rng(0).random(768), 8)
    QApplication.processEvents()
    before = view.grab().toImage()
    save_figure(view, tmp_path / "a.png", width_mm=180)
    save_figure(view, tmp_path / "a.svg")
    QApplication.processEvents()
    assert view.grab().toImage() == before
    assert "probability" in (tmp_path / "a.svg").read_text()
    with pytest.raises(InputError, match=r"saved as \.svg or \.png"):
        save_figure(view, tmp_path / "a.pdf")


def test_there_may_be_nothing_to_save_yet(qtbot: QtBot, tmp_path: Path) -> None:
    view = ViewsView()
    qtbot.addWidget(view)
    with pytest.raises(InputError, match="no data to save yet"):
        save_data(view, tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()
