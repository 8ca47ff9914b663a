"""A run of two classes in a real window: maps, shares, posteriors by class, a class dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.data.star import read_star
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.posterior.options import PosteriorOptions
from napari_cryospin.engine.run.survey import survey_epoch
from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.simulate import Nuisances, simulate
from napari_cryospin.gui.canvas.layers import VOLUME, in_sigma
from napari_cryospin.gui.colours import class_colour
from napari_cryospin.gui.explorer.views_panel import counted
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.gui.dock import CryoSpinDock

# milliseconds; a wait ends as soon as it is over, also on a machine that others load
LONG = 60_000
SECOND = f"{VOLUME}, class 2"
BOX, PIXEL_SIZE, N = 32, 4.0, 200


@pytest.fixture(scope="module")
def two_structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table of a small stack of two structures, and of junk."""
    folder = tmp_path_factory.mktemp("two_structures")
    first = procedural_molecule(BOX, PIXEL_SIZE)
    second = np.ascontiguousarray(first[:, ::-1, ::-1].transpose(1, 0, 2) ** 2)
    second *= first.std() / second.std()
    simulate(
        first, folder, n_particles=N, pixel_size=PIXEL_SIZE, snr=1.0, shift_std=0.0, seed=7,
        second=second, nuisances=Nuisances(second_share=0.5, junk=0.1),
    )  # fmt: skip
    return folder / "particles.star"


@pytest.fixture
def settings(settings: Settings, two_structures: Path) -> Settings:
    settings.data.stack = two_structures
    settings.model.classes = 2
    return settings


@pytest.fixture
def live(
    qtbot: QtBot,
    dock: CryoSpinDock,
    settings: Settings,
    tmp_path: Path,
    rests_between_epochs: None,
) -> CryoSpinDock:
    """A dock whose run of two classes has recorded two epochs, and goes on."""
    dock.posterior.explorer.options = PosteriorOptions(nside=4)
    dock.session.start(settings, tmp_path / "run")
    # each class has particles, which a young run may not yet
    qtbot.waitUntil(
        lambda: len(dock.session.history) >= 2 and min(dock.session.history[-1].class_share) > 0.05,
        timeout=LONG,
    )
    dock.open_posterior.setChecked(True)
    qtbot.waitUntil(dock.posterior.isVisible, timeout=LONG)
    return dock


def of_class(dock: CryoSpinDock, number: int) -> int:
    """Return a particle that is of a class now."""
    poses = dock.posterior.explorer.poses
    return int(np.flatnonzero(poses.classes == number)[0])


def wait_for_class(qtbot: QtBot, dock: CryoSpinDock, number: int) -> None:
    """Look at a particle of a class until its posterior is there."""
    explorer, feed = dock.posterior.explorer, dock.posterior.feed
    explorer.choose(of_class(dock, number))

    def there() -> bool:
        shown = None if feed.result is None else feed.result.request
        if shown is not None and not feed.service.busy:
            if shown.particle == explorer.particle and shown.of_class == number:
                return True
            # training goes on: it may be of another class meanwhile
            explorer.choose(of_class(dock, number))
        return False

    qtbot.waitUntil(there, timeout=LONG)


def pause(qtbot: QtBot, dock: CryoSpinDock) -> None:
    """Let the run rest, with all that it has told drawn."""
    dock.session.pause()
    qtbot.waitUntil(lambda: dock.session.state is SessionState.PAUSED, timeout=LONG)
    qtbot.wait(500)


def press(qtbot: QtBot, button: object) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_two_classes_live(qtbot: QtBot, live: CryoSpinDock, tmp_path: Path) -> None:
    explorer, panel, layers = live.posterior.explorer, live.posterior, live.viewer.layers
    qtbot.waitUntil(lambda: SECOND in layers and layers[SECOND].visible, timeout=LONG)
    pause(qtbot, live)
    _maps_stand_side_by_side_or_alone(live)
    _the_monitor_draws_the_shares(qtbot, live)
    _each_posterior_is_against_the_map_of_its_class(qtbot, live)
    _the_table_has_a_column(qtbot, live)
    _a_recorded_epoch_has_both_maps(qtbot, live)
    _a_survey_is_of_one_class(live)
    _outliers_are_shown_beside_classes(qtbot, live)
    # what a class alone may be: the particles of the next run
    panel.tabs.setCurrentWidget(panel.classes)
    table = panel.classes.table
    qtbot.waitUntil(lambda: table.rowCount() == 2, timeout=LONG)
    table.selectRow(1)
    rows, numbers = panel.classes.chosen(in_use=True), explorer.numbers
    assert len(rows) and (explorer.poses.classes[rows] == 1).all()
    panel.particles.save_selection(rows, tmp_path / "class2.star")
    saved = read_star(tmp_path / "class2.star")
    assert saved.n_particles == len(rows)
    assert panel.classes.save.text() == "Export class…"
    table.selectAll()
    assert panel.classes.save.text() == "Export merged…"
    both = panel.classes.chosen(in_use=True)
    assert np.array_equal(both, np.flatnonzero(explorer.poses.used & (explorer.poses.winner >= 0)))
    assert len(numbers) >= len(both) > len(rows)


def test_a_class_is_dropped_and_taken_back(qtbot: QtBot, live: CryoSpinDock) -> None:
    session, panel = live.session, live.posterior
    pause(qtbot, live)
    panel.tabs.setCurrentWidget(panel.classes)
    qtbot.waitUntil(lambda: panel.classes.table.rowCount() == 2, timeout=LONG)
    panel.classes.table.selectRow(1)
    dropped = panel.classes.chosen(in_use=True)
    press(qtbot, panel.classes.drop)
    session.resume()
    qtbot.waitUntil(lambda: not session.latest_poses.used[dropped].any(), timeout=LONG)
    kept = np.setdiff1d(np.arange(len(session.latest_poses.used)), dropped)
    assert session.latest_poses.used[kept].all()
    qtbot.waitUntil(lambda: panel.classes.table.item(1, 4).text() != "0", timeout=LONG)
    # one particle more, chosen by hand before the class is taken back: it stays out
    panel.particles.table.drop_asked.emit(kept[:1])
    panel.particles.take_back(dropped)
    qtbot.waitUntil(lambda: session.latest_poses.used[dropped].all(), timeout=LONG)
    assert not session.latest_poses.used[kept[0]]


def test_a_run_of_one_class_takes_the_further_maps_away(
    qtbot: QtBot, live: CryoSpinDock, finished_run: Path
) -> None:
    layers, first = live.viewer.layers, live.volume.layer
    qtbot.waitUntil(lambda: SECOND in layers and layers[SECOND].visible, timeout=LONG)
    assert live.classes.isVisible()
    assert first.colormap.name != "gray"
    live.session.stop(keep=False)
    qtbot.waitUntil(lambda: not live.session.active, timeout=LONG)
    with qtbot.waitSignal(live.session.run_opened, timeout=LONG):
        live.open_path(finished_run)
    qtbot.waitUntil(lambda: live.posterior.explorer.volume is not None, timeout=LONG)
    qtbot.waitUntil(lambda: first.visible, timeout=LONG)
    assert live.volume.layer is first
    assert not layers[SECOND].visible
    assert first.colormap.name == "gray"
    assert tuple(first.translate) == (0, 0, 0)
    assert not live.classes.isVisible()
    assert not live.posterior.tabs.isTabVisible(live.posterior.tabs.indexOf(live.posterior.classes))
    live.tabs.setCurrentWidget(live.monitor)
    qtbot.waitUntil(live.monitor.classes.isHidden, timeout=LONG)


def _maps_stand_side_by_side_or_alone(dock: CryoSpinDock) -> None:
    explorer, first, second = dock.posterior.explorer, dock.volume.layer, dock.volume.layer_of(1)
    edge, chooser = BOX * PIXEL_SIZE, dock.classes.shown
    for layer, shown in zip((first, second), explorer.volume.maps, strict=True):
        assert np.array_equal(layer.data, in_sigma(shown))
    assert not np.allclose(first.data, second.data, atol=0.1)
    assert tuple(first.translate) == (0, 0, 0)
    assert tuple(second.translate) == (0, 0, edge)
    camera = dock.viewer.scene.camera
    # voxel centres are at whole pixels
    assert camera.center[2] == pytest.approx(edge / 2 + edge / 2)
    assert [layer.colormap.map(1.0)[0, :3].tolist() for layer in (first, second)] == [
        pytest.approx([int(class_colour(n)[i : i + 2], 16) / 255 for i in (1, 3, 5)], abs=0.01)
        for n in (0, 1)
    ]
    together = camera.zoom
    chooser.setCurrentIndex(2)
    chooser.activated.emit(2)
    assert (first.visible, second.visible) == (False, True)
    # whose map would be saved
    assert dock.results._class_shown == 1
    assert tuple(second.translate) == (0, 0, 0)
    assert camera.center[2] == pytest.approx(edge / 2)
    assert camera.zoom > together
    chooser.setCurrentIndex(0)
    chooser.activated.emit(0)
    assert first.visible and second.visible
    # napari's grid has a view for each layer: none is moved in its own
    dock.viewer.canvas.grid.enabled = True
    assert tuple(second.translate) == (0, 0, 0)
    dock.viewer.canvas.grid.enabled = False
    assert tuple(second.translate) == (0, 0, edge)


def _the_monitor_draws_the_shares(qtbot: QtBot, dock: CryoSpinDock) -> None:
    monitor, history = dock.monitor, dock.session.history
    dock.tabs.setCurrentWidget(monitor)
    qtbot.waitUntil(monitor.classes.isVisible, timeout=LONG)
    for number in range(2):
        _, shares = monitor.classes.curve(str(number + 1)).getData()
        assert shares == pytest.approx([100 * done.class_share[number] for done in history])
    assert "● 2" in monitor.classes._title and "● 3" not in monitor.classes._title


def _each_posterior_is_against_the_map_of_its_class(qtbot: QtBot, dock: CryoSpinDock) -> None:
    panel, edge = dock.posterior, BOX * PIXEL_SIZE
    panel.tabs.setCurrentWidget(panel.pose)
    for number in (1, 0):
        wait_for_class(qtbot, dock, number)
        request = panel.feed.result.request
        assert request.map is request.volume.maps[number]
        weight = request.poses.class_weights[request.particle][number]
        words = f"<b>Class {number + 1}</b> ({weight:.2f})"
        qtbot.waitUntil(lambda words=words: words in panel.pose.text.text(), timeout=LONG)
        assert f"of class {number + 1} in epoch" in panel.age.text()
        name = f"Posterior of particle {request.particle + 1}, class {number + 1}"
        qtbot.waitUntil(lambda name=name: name in dock.viewer.layers, timeout=LONG)
        # beside the map that it is against
        middle = dock.viewer.layers[name].vertices[:, 2].mean()
        assert 0 < middle - number * edge < edge


def _the_table_has_a_column(qtbot: QtBot, dock: CryoSpinDock) -> None:
    panel, poses = dock.posterior, dock.posterior.explorer.poses
    panel.tabs.setCurrentWidget(panel.particles)
    table = panel.particles.table
    qtbot.waitUntil(lambda: "class" in table.model.columns, timeout=LONG)
    assert np.array_equal(table.model.columns["class"], poses.classes + 1)
    place = [table.model.headerData(n, Qt.Orientation.Horizontal) for n in range(10)].index("class")
    assert not table.view.isColumnHidden(place)
    table.view.sortByColumn(place, Qt.SortOrder.DescendingOrder)
    assert table.model.data(table.model.index(0, place)) == "2"
    panel.tabs.setCurrentWidget(panel.classes)
    qtbot.waitUntil(lambda: panel.classes.table.rowCount() == 2, timeout=LONG)
    panel.classes.table.selectRow(1)
    press(qtbot, panel.classes.select)
    assert panel.tabs.currentWidget() is panel.particles
    assert np.array_equal(table.selected, np.flatnonzero(poses.classes == 1))
    # figures of all particles, each against the map of its class
    press(qtbot, panel.particles.compute)
    qtbot.waitUntil(lambda: "of its class" in panel.particles.note.text(), timeout=LONG)
    qtbot.waitUntil(lambda: "entropy" in table.model.columns, timeout=LONG)
    assert np.isfinite(table.model.columns["entropy"]).all()


def _a_recorded_epoch_has_both_maps(qtbot: QtBot, dock: CryoSpinDock) -> None:
    explorer = dock.posterior.explorer
    explorer.show_epoch(0)
    qtbot.waitUntil(lambda: explorer.volume.epoch == 0, timeout=LONG)
    assert len(explorer.volume.maps) == 2
    second = dock.volume.layer_of(1)
    assert np.array_equal(second.data, in_sigma(explorer.volume.maps[1]))
    explorer.show_epoch(None)


def _a_survey_is_of_one_class(dock: CryoSpinDock) -> None:
    session, options = dock.session, PosteriorOptions(nside=2)
    folder, poses = RunFolder(session.folder), dock.posterior.explorer.poses
    known = (folder, 0, session.particles, None)
    first, second = (survey_epoch(*known, options=options, of_class=n, probes=9) for n in (0, 1))
    assert first.entropy != second.entropy
    with pytest.raises(InputError, match="No particle is of class 3 in epoch 1"):
        survey_epoch(*known, options=options, of_class=2)
    views, _, psi = counted(poses, 1)
    assert views.sum() == len(psi) == (poses.used & (poses.classes == 1)).sum()


def _outliers_are_shown_beside_classes(qtbot: QtBot, dock: CryoSpinDock) -> None:
    panel = dock.posterior
    panel.tabs.setCurrentWidget(panel.outliers)
    qtbot.waitUntil(lambda: panel.outliers.gallery.particle_at(0) is not None, timeout=LONG)
    panel.tabs.setCurrentWidget(panel.heads)
    assert panel.heads.isVisible()
    qtbot.waitUntil(lambda: "of class 1" in panel.heads.note.text(), timeout=LONG)
    panel.tabs.setCurrentWidget(panel.views)
    qtbot.waitUntil(lambda: "compensation factor" in panel.views.view.text.text(), timeout=LONG)
