from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cryospin.engine.events import VolumeUpdated
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.canvas.layers import VOLUME, VolumeLayer, in_sigma
from napari_cryospin.gui.explorer.state import Explorer

if TYPE_CHECKING:
    from napari_cryospin.gui.work.session import Session

pytestmark = pytest.mark.usefixtures("at_once")


def update(seed: int, box: int = 8, pixel_size: float = 4.0) -> VolumeUpdated:
    volume = np.random.default_rng(seed).normal(size=(box,) * 3).astype(np.float32)
    return VolumeUpdated(0, Inference.AMORTIZED, volume, pixel_size)


@pytest.fixture
def viewer(session: Session) -> ViewerModel:
    viewer = ViewerModel()
    VolumeLayer(session, Explorer(session), viewer)
    session.volume_updated.emit(update(0))
    return viewer


def test_the_map_is_made_in_angstrom_and_seen_in_3d(viewer: ViewerModel) -> None:
    layer = viewer.layers[VOLUME]
    assert tuple(layer.scale) == (4.0, 4.0, 4.0)
    assert layer.rendering == "iso"
    assert viewer.dims.ndisplay == 3


def test_a_new_map_leaves_view_selection_and_order_alone(
    viewer: ViewerModel, session: Session
) -> None:
    other = viewer.add_image(np.zeros((8, 8, 8)), name="the user's")
    viewer.layers.move(1, 0)
    viewer.layers.selection = {other}
    viewer.dims.ndisplay = 2
    viewer.scene.camera.zoom = 7
    layer = viewer.layers[VOLUME]
    layer.contrast_limits, layer.visible, before = (1, 5), False, layer.data.copy()
    session.volume_updated.emit(update(1))
    assert np.array_equal(layer.data, before), "drawn when it is shown again"
    assert [one.name for one in viewer.layers] == ["the user's", VOLUME]
    assert viewer.layers.selection == {other}
    assert (viewer.dims.ndisplay, viewer.scene.camera.zoom) == (2, 7)
    assert (tuple(layer.contrast_limits), layer.visible) == ((1, 5), False)
    layer.visible = True
    assert not np.array_equal(layer.data, before)
    session.volume_updated.emit(update(2))
    assert np.array_equal(layer.data, in_sigma(update(2).volume))
    assert viewer.layers.selection == {other}


def test_a_deleted_map_comes_back_with_the_next_run_only(
    viewer: ViewerModel, session: Session
) -> None:
    viewer.layers.remove(VOLUME)
    session.volume_updated.emit(update(1))
    assert len(viewer.layers) == 0
    session.run_started.emit(None)
    session.volume_updated.emit(update(2))
    assert VOLUME in viewer.layers


def test_a_map_of_another_box_goes_into_the_same_layer(
    viewer: ViewerModel, session: Session
) -> None:
    layer, heard = viewer.layers[VOLUME], list[str]()
    viewer.layers.events.inserted.connect(lambda _: heard.append("inserted"))
    viewer.layers.events.removed.connect(lambda _: heard.append("removed"))
    for box, pixel_size in ((10, 3.2), (6, 5.0), (12, 4.0)):
        session.run_started.emit(None)
        session.volume_updated.emit(update(1, box, pixel_size))
        assert list(viewer.layers) == [layer]
        assert layer.data.shape == (box,) * 3
        assert tuple(layer.scale) == (pixel_size,) * 3
    assert not heard


def test_the_camera_is_fitted_to_the_first_map_and_to_one_of_another_size(
    viewer: ViewerModel, session: Session
) -> None:
    camera = viewer.scene.camera
    assert tuple(camera.center) == (16, 16, 16)
    # the map's box is a little larger than what is seen of it
    assert camera.zoom * 32 == pytest.approx(min(viewer.canvas.size) * 1.2, rel=0.1)
    fitted = camera.zoom
    camera.angles, camera.center, camera.zoom = (10, 20, 30), (1, 2, 3), 7
    session.run_started.emit(None)
    session.volume_updated.emit(update(1, 16, 2.1))
    assert (tuple(camera.center), camera.zoom) == ((1, 2, 3), 7), "of the same size in Å"
    viewer.dims.ndisplay = 2
    session.run_started.emit(None)
    session.volume_updated.emit(update(1, 16, 8.0))
    assert tuple(camera.center)[1:] == (64, 64)
    assert camera.zoom == pytest.approx(fitted / 4)
    assert tuple(camera.angles) == (10, 20, 30)
    assert viewer.dims.ndisplay == 2


def test_the_map_fills_a_canvas_of_another_size_until_the_user_zooms(viewer: ViewerModel) -> None:
    camera, canvas = viewer.scene.camera, viewer.canvas
    camera.angles = (10, 20, 30)
    fitted, (height, width) = camera.zoom, canvas.size
    canvas.size = (height // 2, width // 2)
    assert camera.zoom == pytest.approx(fitted / 2)
    camera.zoom = 7
    canvas.size = (height, width)
    assert camera.zoom == 7


def test_the_last_runs_map_is_out_of_sight_until_there_is_a_new_one(
    viewer: ViewerModel, session: Session
) -> None:
    layer = viewer.layers[VOLUME]
    session.run_started.emit(None)
    assert not layer.visible
    session.volume_updated.emit(update(1))
    assert layer.visible


def test_a_second_dock_takes_the_map_of_the_first_over(
    viewer: ViewerModel, session: Session
) -> None:
    layer, camera = viewer.layers[VOLUME], viewer.scene.camera
    camera.zoom = 7
    again = VolumeLayer(session, Explorer(session), viewer)
    assert again.layer is layer
    session.volume_updated.emit(update(1))
    assert list(viewer.layers) == [layer]
    assert camera.zoom == 7
