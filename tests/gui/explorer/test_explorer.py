"""The explorer on a run that is still training: every view, with real clicks and real files."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QFileDialog, QScrollArea

from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.posterior.options import SHIFT_EXTENT, PosteriorOptions
from napari_cryospin.gui.explorer.state import Explorer
from napari_cryospin.gui.views.export import SaveButtons, save_data, save_figure
from napari_cryospin.gui.views.mollweide import angles_of, direction_of, project
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock
    from napari_cryospin.gui.explorer.posterior_panel import PosteriorPanel
    from napari_cryospin.gui.work.session import Session

# an eighth of the poses that a user is shown; the run estimates shifts
OPTIONS = PosteriorOptions(nside=4, shift_extent=SHIFT_EXTENT)
# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 180_000


@pytest.fixture
def dock(shared_dock: CryoSpinDock) -> CryoSpinDock:
    """The dock in a real, shown napari window, which these tests share; its pose grid is coarse."""
    shared_dock.posterior.explorer.options = OPTIONS
    return shared_dock


@pytest.fixture
def panel(
    qtbot: QtBot,
    dock: CryoSpinDock,
    settings: Settings,
    tmp_path: Path,
    rests_between_epochs: None,
) -> PosteriorPanel:
    """The explorer of a run under way that has recorded two epochs, as one finds it at first.

    The run is one for all tests; what the test before left in the window is put back.
    """
    session, panel = dock.session, dock.posterior
    if not session.active:
        # what credible sets hold of the true poses is one of the views
        settings.data.truth_star = settings.data.stack.with_name("truth.star")
        session.start(settings, tmp_path / "run")
    session.resume()
    put_back(dock)
    qtbot.waitUntil(lambda: len(session.history) >= 2, timeout=LONG)
    dock.open_posterior.setChecked(True)
    qtbot.waitUntil(lambda: session.state is SessionState.RUNNING, timeout=LONG)
    qtbot.waitUntil(lambda: panel.feed.result is not None and is_first(panel), timeout=LONG)
    return panel


def put_back(dock: CryoSpinDock) -> None:
    """Choose the first particle, the live epoch, the first options, tab and camera."""
    panel = dock.posterior
    for layer in dock.viewer.layers:
        if layer.name.startswith("Posterior"):
            layer.visible = True
    panel.layers.turner.give_back()
    panel.heads.on_canvas.setChecked(False)
    panel.tabs.setCurrentIndex(0)
    panel.slider.setValue(panel.slider.maximum())
    panel.spin.choose(0)
    panel.pose.temperature.setValue(1)
    panel.pose.low_pass.setCurrentIndex(0)
    panel.pose.low_pass.activated.emit(0)


def is_first(panel: PosteriorPanel) -> bool:
    """Whether the first particle's posterior is shown, with no option, and no other is to come."""
    request = panel.feed.result.request
    first = request.particle == 0 and request.options == OPTIONS
    return first and not panel.feed.service.busy


def on_map(panel: PosteriorPanel, direction: np.ndarray) -> tuple[object, QPoint]:
    """Return the widget and the place at which the heatmap shows a direction."""
    mollweide = panel.pose.mollweide
    x, y = project(*angles_of(direction))
    scene = mollweide.map.mapViewToScene(QPointF(float(x), float(y)))
    return mollweide._canvas.viewport(), mollweide._canvas.mapFromScene(scene)


def test_choosing_hovering_and_zooming(qtbot: QtBot, panel: PosteriorPanel) -> None:
    panel.spin.choose(7)
    qtbot.waitUntil(lambda: panel.feed.result.posterior.particle == 7, timeout=LONG)
    pose = panel.pose
    direction = direction_of(40, 70)
    viewport, place = on_map(panel, direction)
    qtbot.mouseMove(viewport, place)
    qtbot.waitUntil(
        lambda: "rot 4" in pose.hover.text() or "rot 3" in pose.hover.text(), timeout=LONG
    )
    for word in ("tilt", "psi", "probability"):
        assert word in pose.hover.text()
    assert "At rot" in pose.in_plane._title
    assert len(pose.in_plane.table()["psi_deg"]) == 6 * OPTIONS.nside

    # a click goes to the nearest mode; these stay while nothing is trained
    session = panel.explorer.session
    session.pause()
    qtbot.waitUntil(lambda: session.state is SessionState.PAUSED, timeout=LONG)
    qtbot.waitUntil(lambda: not panel.feed.service.busy and not panel.feed._stale, timeout=LONG)
    modes = panel.feed.result.posterior.modes
    for mode in range(min(len(modes), 2)):
        qtbot.mouseClick(*_click(panel, modes[mode, 2]))
        qtbot.wait(50)
        shown = panel.feed.result.posterior.modes[:, 2]
        assert (shown @ pose.zoom.centre).max() == pytest.approx(1)
        assert pose.zoom.centre @ modes[mode, 2] > 0.9
    assert pose.modes.rowCount() == len(panel.feed.result.posterior.modes)


def _click(panel: PosteriorPanel, direction: np.ndarray) -> tuple[object, object, object, QPoint]:
    viewport, place = on_map(panel, direction)
    return viewport, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place


def test_the_slider_shows_recorded_epochs(qtbot: QtBot, panel: PosteriorPanel) -> None:
    explorer, volume = panel.explorer, panel.parent()
    assert volume is not None
    qtbot.keyClick(panel.slider, Qt.Key.Key_Home)
    qtbot.waitUntil(
        lambda: explorer.volume.epoch == 0 and panel.feed.result.request.volume.epoch == 0,
        timeout=LONG,
    )
    assert explorer.epoch == 0
    assert panel.when.text().startswith("epoch 1")
    qtbot.waitUntil(lambda: "map</b> of epoch 1 " in panel.pose.text.text(), timeout=LONG)
    # training goes on, and what is shown stays
    epochs = len(panel.explorer.session.history)
    qtbot.waitUntil(lambda: len(panel.explorer.session.history) > epochs, timeout=LONG)
    assert explorer.volume.epoch == 0
    qtbot.waitUntil(lambda: panel.pose._trail is not None, timeout=LONG)
    assert len(panel.pose._trail.epochs) >= 2
    qtbot.keyClick(panel.slider, Qt.Key.Key_End)
    assert explorer.epoch is None
    assert panel.when.text() == "live"
    # asked for at once, not in the turn of live maps
    assert explorer.volume is explorer.session.latest_volume
    assert panel.feed.service._wanted.volume is explorer.volume
    qtbot.waitUntil(lambda: panel.feed.result.request.volume.epoch > 0, timeout=LONG)


def test_low_pass_and_temperature_change_the_posterior(qtbot: QtBot, panel: PosteriorPanel) -> None:
    panel.explorer.session.pause()
    qtbot.waitUntil(lambda: panel.explorer.session.state is SessionState.PAUSED, timeout=LONG)
    before = panel.feed.result.posterior.entropy
    panel.pose.temperature.setValue(30)
    qtbot.waitUntil(lambda: panel.feed.result.request.options.temperature == 30, timeout=LONG)
    assert panel.feed.result.posterior.entropy > before
    panel.pose.low_pass.setCurrentIndex(1)
    panel.pose.low_pass.activated.emit(1)
    qtbot.waitUntil(lambda: panel.feed.result.request.options.radius == 4.0, timeout=LONG)


def test_the_table_sorts_chooses_saves_and_drops(
    qtbot: QtBot, panel: PosteriorPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, particles = panel.explorer.session, panel.particles
    panel.tabs.setCurrentWidget(particles)
    table = particles.table
    session.pause()
    qtbot.waitUntil(lambda: table.model.rowCount() == 200, timeout=LONG)
    qtbot.mouseClick(particles.compute, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: table.model.known(1), timeout=LONG)
    assert "more than one mode" in particles.note.text()

    header = table.view.horizontalHeader()
    place = QPoint(header.sectionViewportPosition(1) + 5, 5)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=place)
    entropy = table.model.columns["entropy"][table.model.order]
    assert (np.diff(entropy) >= 0).all() or (np.diff(entropy) <= 0).all()

    cell = table.view.visualRect(table.model.index(2, 0)).center()
    qtbot.mouseClick(table.view.viewport(), Qt.MouseButton.LeftButton, pos=cell)
    chosen = table.model.particle_at(2)
    assert panel.particle == chosen == panel.spin.place

    target = tmp_path / "some.star"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    table.select(np.array([3, 8, 9]))
    qtbot.mouseClick(table.save, Qt.MouseButton.LeftButton)
    assert list(read_star(target).image_index) == [3, 8, 9]

    session.resume()
    qtbot.mouseClick(table.drop, Qt.MouseButton.LeftButton)
    used = "used"
    qtbot.waitUntil(lambda: not table.model.columns[used][[3, 8, 9]].any(), timeout=LONG)
    assert table.model.columns[used].sum() == 197
    qtbot.mouseClick(table.restore, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: table.model.columns[used].all(), timeout=LONG)


def test_every_view_saves_its_figure_and_its_data(
    qtbot: QtBot, panel: PosteriorPanel, tmp_path: Path
) -> None:
    panel.heads.on_canvas.setChecked(True)
    views = []
    # the tab of the classes is there where there are several
    for place in filter(panel.tabs.isTabVisible, range(panel.tabs.count())):
        panel.tabs.setCurrentIndex(place)
        page = panel.tabs.currentWidget()
        if page is panel.candidates:
            # a held-out particle has candidates once an epoch has ended
            qtbot.waitUntil(lambda: panel.candidates.view._shown is not None, timeout=LONG)
        if page is panel.survey:
            qtbot.waitUntil(lambda: len(panel.survey.surveys) >= 1, timeout=LONG)
        if page is panel.heads:
            qtbot.waitUntil(lambda: panel.heads._cells is not None, timeout=LONG)
            qtbot.waitUntil(lambda: bool(panel.explorer.session.history), timeout=LONG)
        if page is panel.views:
            qtbot.waitUntil(lambda: panel.views.view._counts is not None, timeout=LONG)
        if page is panel.particles:
            qtbot.waitUntil(lambda: panel.particles.table.model.rowCount() == 200, timeout=LONG)
        qtbot.wait(100)
        for buttons in page.findChildren(SaveButtons):
            view = buttons._view
            views.append(view.title)
            save_data(view, tmp_path / "data.csv")
            lines = (tmp_path / "data.csv").read_text().splitlines()
            assert len(lines) > 1
            assert lines[0].count(",") == lines[1].count(",") >= 1
            if view.graphics():
                _check_figures(view, tmp_path)
    assert len(views) == len(set(views)) == 12
    assert "Heads: mean loss" in [layer.name for layer in panel.layers._viewer.layers]


def _check_figures(view: object, folder: Path) -> None:
    before = view.graphics()[0].grab().toImage()
    save_figure(view, folder / "figure.svg")
    save_figure(view, folder / "figure.png", width_mm=90)
    root = ElementTree.parse(folder / "figure.svg").getroot()
    assert root.tag.endswith("svg")
    image = QImage(str(folder / "figure.png"))
    assert image.width() == round(90 / 25.4 * 300)
    # white paper
    assert image.pixelColor(1, 1).lightness() == 255
    after = view.graphics()[0].grab().toImage()
    assert before.size() == after.size()


def test_a_figure_cannot_be_saved_everywhere(
    qtbot: QtBot, panel: PosteriorPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "no" / "x.png"), "")
    )
    with qtbot.waitSignal(panel.explorer.session.message, timeout=LONG) as told:
        qtbot.mouseClick(panel.pose.save.figure, Qt.MouseButton.LeftButton)
    assert "could not be written" in told.args[0]


def test_a_direction_turns_the_camera_and_the_button_gives_it_back(
    qtbot: QtBot, dock: CryoSpinDock, panel: PosteriorPanel
) -> None:
    camera = dock.viewer.scene.camera
    camera.angles = (10, 20, 30)
    assert not panel.give_back.isEnabled()
    direction = panel.feed.result.posterior.modes[0, 2]
    panel.layers.direction_clicked(direction)
    assert panel.give_back.isEnabled()
    # napari's camera looks along minus the view direction, z y x
    assert abs(np.dot(np.array(camera.view_direction)[::-1], direction)) > 0.99
    qtbot.mouseClick(panel.give_back, Qt.MouseButton.LeftButton)
    assert np.allclose(camera.angles, (10, 20, 30), atol=0.1)
    assert not panel.give_back.isEnabled()


def test_a_late_answer_for_another_epoch_is_dropped(qtbot: QtBot, panel: PosteriorPanel) -> None:
    panel.explorer.session.pause()
    qtbot.waitUntil(lambda: panel.explorer.session.state is SessionState.PAUSED, timeout=LONG)
    qtbot.waitUntil(lambda: not panel.feed.service.busy, timeout=LONG)
    shown: list[int] = []
    panel.feed.ready.connect(lambda result: shown.append(result.request.volume.epoch))
    panel.feed._ask()
    assert panel.feed.service.busy
    panel.slider.setValue(0)
    assert panel.when.text() == "reading epoch 1 …"
    qtbot.waitUntil(lambda: bool(shown), timeout=LONG)
    qtbot.wait(500)
    assert shown == [0]
    assert panel.when.text().startswith("epoch 1 of ")


def test_a_trail_waits_for_the_posterior_of_its_particle(
    qtbot: QtBot, panel: PosteriorPanel
) -> None:
    panel.explorer.session.pause()
    qtbot.waitUntil(lambda: panel.explorer.session.state is SessionState.PAUSED, timeout=LONG)
    qtbot.waitUntil(lambda: panel.pose._trail is not None, timeout=LONG)
    trail = panel.pose._trail
    drawn = panel.pose.mollweide._trail._encoding
    assert len(drawn.xData) >= 1
    panel.spin.choose(5)
    panel.pose.show_trail(trail)
    assert panel.feed.result.posterior.particle == 0
    assert drawn.xData is None or len(drawn.xData) == 0
    qtbot.waitUntil(lambda: panel.feed.result.posterior.particle == 5, timeout=LONG)
    qtbot.waitUntil(lambda: drawn.xData is not None and len(drawn.xData) >= 1, timeout=LONG)


def test_pages_that_are_cut_scroll(qtbot: QtBot, dock: CryoSpinDock, panel: PosteriorPanel) -> None:
    size = dock.viewer.window._qt_window.size()
    dock.viewer.window.resize(1366, 768)
    pages = [panel.tabs.widget(place) for place in range(panel.tabs.count())]
    for page in pages:
        panel.tabs.setCurrentWidget(page)
        (area,) = (a for a in page.findChildren(QScrollArea) if a.parent() is page)
        # once the page has turned to its new shape
        inside, seen = area.widget(), area.viewport()
        qtbot.waitUntil(lambda i=inside, s=seen: i.width() <= s.width(), timeout=LONG)
    dock.viewer.window.resize(size.width(), size.height())


def test_hidden_views_compute_nothing(
    qtbot: QtBot, dock: CryoSpinDock, panel: PosteriorPanel
) -> None:
    for layer in list(dock.viewer.layers):
        if layer.name.startswith("Posterior"):
            layer.visible = False
    dock.open_posterior.setChecked(False)
    work = panel.feed.service, panel.survey.task, panel.particles.task
    # what was begun before goes on to its end
    qtbot.waitUntil(lambda: not any(each.busy for each in work), timeout=LONG)
    with qtbot.assertNotEmitted(panel.feed.ready, wait=3000):
        pass
    assert not any(each.busy for each in work)


def test_a_page_is_drawn_when_it_is_looked_at(
    qtbot: QtBot, panel: PosteriorPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr(panel.candidates, "show_result", shown.append)
    panel.spin.choose(3)
    qtbot.waitUntil(lambda: panel.feed.result.posterior.particle == 3, timeout=LONG)
    assert shown == []
    for _ in range(2):
        panel.tabs.setCurrentWidget(panel.candidates)
        assert shown == [panel.feed.result], "once for each answer"
        panel.tabs.setCurrentWidget(panel.pose)


def test_shifts_are_searched_where_the_run_estimates_them(
    qtbot: QtBot, dock: CryoSpinDock, settings: Settings, tmp_path: Path
) -> None:
    dock.session.stop(keep=False)
    qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)
    settings.model.shifts = True
    with qtbot.waitSignal(dock.session.run_started, timeout=LONG):
        dock.session.start(settings, tmp_path / "run")
    feed = dock.posterior.feed
    qtbot.waitUntil(lambda: feed.result is not None, timeout=LONG)
    request = feed.result.request
    assert request.options.shift_extent == 2
    assert request.shifts.shape == (200, 2)
    posterior = feed.result.posterior
    assert len(posterior.fine.shifts) > 1
    assert np.linalg.norm(posterior.best_shift - request.shifts[posterior.particle]) < 3
    dock.session.stop(keep=False)
    qtbot.waitUntil(lambda: not dock.session.active, timeout=LONG)


def test_an_epoch_that_cannot_be_read_gives_way_to_the_live_state(
    qtbot: QtBot, session: Session, tmp_path: Path
) -> None:
    explorer = Explorer(session)
    session.folder, session.particles = tmp_path, object()
    with qtbot.waitSignal(explorer.message, timeout=LONG) as said:
        explorer.show_epoch(3)
    assert explorer.epoch is None
    assert str(tmp_path) in said.args[0]
