"""The monitor's plots, the Mollweide map and the spheres, each by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cryospin.engine.events import EpochDone, VolumeUpdated
from napari_cryospin.engine.geometry.sphere import angles_of_pixels
from napari_cryospin.engine.settings import Settings
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.canvas.layers import in_sigma
from napari_cryospin.gui.canvas.sphere_layers import PosteriorOnSphere, SphereLayers
from napari_cryospin.gui.canvas.spheres import healpix_mesh, per_vertex
from napari_cryospin.gui.panels.monitor_panel import MonitorPanel
from napari_cryospin.gui.panels.training_panel import TrainingPanel
from napari_cryospin.gui.views import mollweide
from napari_cryospin.gui.views.epoch_plot import EpochPlot

if TYPE_CHECKING:
    from pathlib import Path

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.work.session import Session


def done(epoch: int, share: tuple[float, ...]) -> EpochDone:
    return EpochDone(
        epoch=epoch,
        inference=Inference.AMORTIZED,
        loss=1.0 / (epoch + 1),
        head_share=share,
        stage=0,
        start=0,
        held_out_gain=None,
        switch=None,
        median_pose_error=40.0,
        mean_pose_error=50.0,
        resolution=12.0,
        seconds=1.0,
    )


def test_the_histogram_follows_the_heads(qtbot: QtBot, session: Session) -> None:
    panel = MonitorPanel(session)
    qtbot.addWidget(panel)
    panel.show()
    session.epoch_done.emit(done(0, (0.25, 0.75)))
    qtbot.waitUntil(lambda: list(panel.heads.bars.opts["height"]) == [25.0, 75.0], timeout=2000)
    assert panel.heads.plotItem.titleLabel.text.endswith(": 1.8 effective")
    session.epoch_done.emit(done(1, (0.5, 0.5)))
    qtbot.waitUntil(lambda: list(panel.heads.bars.opts["height"]) == [50.0, 50.0], timeout=2000)


@pytest.mark.parametrize("last", [1.5, 4, 40])
def test_epochs_are_counted(qtbot: QtBot, last: float) -> None:
    plot = EpochPlot("Loss", "loss", {"epoch": "#fff"})
    qtbot.addWidget(plot)
    plot.resize(600, 200)
    plot.show()
    plot.setXRange(0.9, last)
    levels = plot.getAxis("bottom").tickValues(0.9, last, 500)
    marks = [mark for _, values in levels for mark in values]
    assert marks and all(float(mark).is_integer() for mark in marks)


def test_directions_come_back_from_the_mollweide_map() -> None:
    rot, tilt = np.array([0.0, -170, 60, 91]), np.array([90.0, 20, 150, 45])
    back = mollweide.unproject(*mollweide.project(rot, tilt))
    assert np.allclose(back[0], rot, atol=1e-3)
    assert np.allclose(back[1], tilt, atol=1e-3)


def test_the_pixel_under_the_cursor_is_healpixs() -> None:
    for pixel in (0, 17, 400, 767):
        tilt, rot = np.degrees(angles_of_pixels(pixel, 8))
        x, y = mollweide.project(np.array([(rot + 180) % 360 - 180]), np.array([tilt]))
        assert mollweide.pixel_at(8, float(x[0]), float(y[0])) == pixel
    assert mollweide.pixel_at(8, 1.9, 0.9) == -1


def test_the_sphere_is_a_sphere() -> None:
    vertices, faces = healpix_mesh(8)
    assert np.allclose(np.linalg.norm(vertices, axis=1), 1)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    assert area == pytest.approx(4 * np.pi, rel=0.02)
    assert np.array_equal(per_vertex(np.arange(3.0)), np.repeat(np.arange(3.0), 4))


def test_spheres_are_updated_in_place_and_leave_the_view_alone(at_once: None) -> None:
    viewer = ViewerModel()
    layers = SphereLayers(viewer)
    layers.set_box(32, 4.0)
    healpix_mesh(2)

    def show(peak: int) -> None:
        values = np.zeros(48, dtype=np.float32)
        values[peak] = 1
        layers.show_posterior(PosteriorOnSphere(peak, 2, values, (0, 1)))
        layers.show_candidates(np.eye(3), 1)

    show(0)
    made = list(viewer.layers)
    assert len(made) == 2
    viewer.scene.camera.angles = (1, 2, 3)
    viewer.layers.selection = {made[0]}
    before = made[0].data[2].copy()
    show(5)
    assert list(viewer.layers) == made
    assert not np.array_equal(made[0].data[2], before)
    assert tuple(viewer.scene.camera.angles) == (1, 2, 3)
    assert viewer.layers.selection == {made[0]}
    viewer.layers.remove(made[0])
    show(6)
    assert len(viewer.layers) == 1
    layers.new_run()
    show(7)
    assert len(viewer.layers) == 2


def test_maps_are_shown_in_sigma() -> None:
    volume = np.random.default_rng(0).normal(3, 5, (8, 8, 8)).astype(np.float32)
    shown = in_sigma(volume)
    assert shown.mean() == pytest.approx(0, abs=1e-5)
    assert shown.std() == pytest.approx(1, abs=1e-5)
    assert not in_sigma(np.ones((4, 4, 4), dtype=np.float32)).any()


@pytest.mark.parametrize("preset", ["quick", "paper-experimental"])
def test_the_form_gives_back_what_it_was_given(
    qtbot: QtBot, session: Session, tmp_path: Path, preset: str
) -> None:
    panel = TrainingPanel(session)
    qtbot.addWidget(panel)
    given = Settings.from_preset(preset)
    given.threads, given.seed, given.data.mask_diameter = 3, 11, 120.0
    given.stages[0].until, given.starts = "hand", 3
    panel.show_settings(given)
    back = panel.settings(tmp_path / "a.star", None)
    given.data.stack = tmp_path / "a.star"
    assert back == given


def test_a_preset_fills_the_form(qtbot: QtBot, session: Session, tmp_path: Path) -> None:
    panel = TrainingPanel(session)
    qtbot.addWidget(panel)
    panel.preset.value = "paper-synthetic"
    settings = panel.settings(tmp_path / "a.star", None)
    assert (settings.data.box, settings.model.heads, settings.stages[0].epochs) == (128, 7, 7)


def test_frames_that_nobody_took_are_dropped(session: Session) -> None:
    from napari_cryospin.gui.work.worker import ReconstructionWorker

    worker = ReconstructionWorker(None, None, None)
    for epoch in range(3):
        worker._pass_on(VolumeUpdated(epoch, Inference.AMORTIZED, np.zeros((2, 2, 2)), 1.0))
    assert worker.volume.take().epoch == 2
    assert worker.volume.take() is None
