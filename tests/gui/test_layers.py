from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cryospin.engine.run.events import VolumeUpdated
from napari_cryospin.engine.settings import Stage
from napari_cryospin.gui.layers import VOLUME, VolumeLayer

if TYPE_CHECKING:
    from napari_cryospin.gui.session import Session


def update(seed: int, box: int = 8) -> VolumeUpdated:
    volume = np.random.default_rng(seed).normal(size=(box,) * 3).astype(np.float32)
    return VolumeUpdated(0, Stage.AUTO_ENCODING, volume, 4.0)


@pytest.fixture
def viewer(session: Session) -> ViewerModel:
    viewer = ViewerModel()
    VolumeLayer(session, viewer)
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
    assert not np.array_equal(layer.data, before)
    assert [one.name for one in viewer.layers] == ["the user's", VOLUME]
    assert viewer.layers.selection == {other}
    assert (viewer.dims.ndisplay, viewer.scene.camera.zoom) == (2, 7)
    assert (tuple(layer.contrast_limits), layer.visible) == ((1, 5), False)


def test_a_run_with_another_box_gets_a_layer_of_its_own_size(
    viewer: ViewerModel, session: Session
) -> None:
    session.run_started.emit(None)
    session.volume_updated.emit(update(1, box=10))
    assert [one.data.shape for one in viewer.layers] == [(10, 10, 10)]


def test_a_deleted_map_comes_back_with_the_next_run_only(
    viewer: ViewerModel, session: Session
) -> None:
    viewer.layers.remove(VOLUME)
    session.volume_updated.emit(update(1))
    assert len(viewer.layers) == 0
    session.run_started.emit(None)
    session.volume_updated.emit(update(2))
    assert VOLUME in viewer.layers
