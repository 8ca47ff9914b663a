from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cryospin.engine.events import VolumeUpdated
from napari_cryospin.engine.setting_fields import setting_field
from napari_cryospin.engine.settings import MOST_CLASSES
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.canvas.layers import VOLUME, VolumeLayer, in_sigma
from napari_cryospin.gui.colours import class_colour
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


def of_classes(n: int, seed: int = 0, box: int = 8, pixel_size: float = 4.0) -> VolumeUpdated:
    maps = [update(seed + number, box, pixel_size).volume for number in range(n)]
    return VolumeUpdated(0, Inference.AMORTIZED, maps[0], pixel_size, tuple(maps[1:]))


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (3, [(0, 0), (0, 32), (0, 64)]),
        (5, [(0, 0), (0, 32), (0, 64), (32, 0), (32, 32)]),
    ],
)
def test_maps_of_classes_stand_in_rows_that_are_all_seen(
    viewer: ViewerModel, session: Session, n: int, expected: list[tuple[int, int]]
) -> None:
    session.volume_updated.emit(of_classes(n))
    layers, camera = list(viewer.layers), viewer.scene.camera
    assert [layer.name for layer in layers] == [
        VOLUME,
        *(f"{VOLUME}, class {number}" for number in range(2, n + 1)),
    ]
    assert [tuple(layer.translate) for layer in layers] == [(0, *place) for place in expected]
    for layer, shown in zip(layers, of_classes(n).maps, strict=True):
        assert np.array_equal(layer.data, in_sigma(shown))
    # voxel 4 of 8, 4 Å each, is the middle of the first
    middle = [16 + max(place[axis] for place in expected) / 2 for axis in (0, 1)]
    assert tuple(camera.center) == (16, *middle)
    height, width = viewer.canvas.size
    assert height / camera.zoom >= max(place[0] for place in expected) + 26
    assert width / camera.zoom >= max(place[1] for place in expected) + 26


def test_of_fewer_classes_the_further_maps_are_out_of_sight_and_come_back(
    viewer: ViewerModel, session: Session
) -> None:
    session.volume_updated.emit(of_classes(2))
    first, second = viewer.layers
    second.iso_threshold = 7
    session.run_started.emit(None)
    assert not first.visible and not second.visible
    session.volume_updated.emit(update(3))
    assert list(viewer.layers) == [first, second]
    assert (first.visible, second.visible) == (True, False)
    assert tuple(viewer.scene.camera.center) == (16, 16, 16)
    session.run_started.emit(None)
    session.volume_updated.emit(of_classes(2, seed=5))
    assert list(viewer.layers) == [first, second]
    assert second.visible and second.iso_threshold == 7
    assert np.array_equal(second.data, in_sigma(of_classes(2, seed=5).maps[1]))


def test_a_colour_that_the_user_has_chosen_stays(viewer: ViewerModel, session: Session) -> None:
    first = viewer.layers[VOLUME]
    first.colormap = "red"
    session.volume_updated.emit(of_classes(2))
    assert first.colormap.name == "red"
    first.colormap = "gray"
    session.volume_updated.emit(of_classes(2))
    assert first.colormap.name == "cryoSPIN class 1"
    session.volume_updated.emit(update(1))
    assert first.colormap.name == "gray"


def test_a_hidden_or_deleted_map_of_a_class_stays_so(viewer: ViewerModel, session: Session) -> None:
    session.volume_updated.emit(of_classes(3))
    _, second, third = viewer.layers
    second.visible = False
    viewer.layers.remove(third)
    session.volume_updated.emit(of_classes(3, seed=5))
    assert not second.visible and third not in viewer.layers
    assert len(viewer.layers) == 2
    session.run_started.emit(None)
    session.volume_updated.emit(of_classes(3, seed=6))
    assert not second.visible
    assert len(viewer.layers) == 3


def test_there_is_a_layer_for_as_many_classes_as_settings_take(
    viewer: ViewerModel, session: Session
) -> None:
    assert setting_field("model.classes").high == MOST_CLASSES
    session.volume_updated.emit(of_classes(MOST_CLASSES))
    assert len(viewer.layers) == MOST_CLASSES
    assert len({class_colour(number) for number in range(MOST_CLASSES)}) == MOST_CLASSES


def test_a_class_alone_stands_where_the_first_does(session: Session) -> None:
    viewer, explorer = ViewerModel(), Explorer(session)
    VolumeLayer(session, explorer, viewer)
    session.volume_updated.emit(of_classes(2))
    first, second = viewer.layers
    explorer.show_class(1)
    assert (first.visible, second.visible) == (False, True)
    assert tuple(second.translate) == (0, 0, 0)
    session.volume_updated.emit(of_classes(2, seed=5))
    assert (first.visible, second.visible) == (False, True)
    assert np.array_equal(second.data, in_sigma(of_classes(2, seed=5).maps[1]))
    explorer.show_class(None)
    assert np.array_equal(first.data, in_sigma(of_classes(2, seed=5).maps[0]))
    viewer.canvas.grid.enabled = True
    assert tuple(second.translate) == (0, 0, 0)


def test_the_users_zoom_stays_whichever_classes_are_shown(session: Session) -> None:
    viewer, explorer = ViewerModel(), Explorer(session)
    VolumeLayer(session, explorer, viewer)
    session.volume_updated.emit(of_classes(2))
    camera, fitted = viewer.scene.camera, viewer.scene.camera.zoom
    explorer.show_class(1)
    assert tuple(camera.center) == (16, 16, 16) and camera.zoom > fitted
    explorer.show_class(None)
    assert tuple(camera.center) == (16, 16, 32) and camera.zoom == fitted, "until then it is fitted"
    # at a spot of the first map, which is not moved
    camera.angles, camera.center, camera.zoom = (10, 20, 30), (15, 14, 13), 7
    for change in (
        lambda: explorer.show_class(0),
        lambda: explorer.show_class(None),
        lambda: setattr(viewer.canvas.grid, "enabled", True),
        lambda: setattr(viewer.canvas.grid, "enabled", False),
        lambda: session.volume_updated.emit(of_classes(3)),
        lambda: session.volume_updated.emit(of_classes(2)),
    ):
        change()
        assert (tuple(camera.center), camera.zoom) == ((15, 14, 13), 7)
    # at one of the second: what is looked at comes along
    camera.center = (15, 14, 45)
    for change, x in (
        (lambda: explorer.show_class(1), 13),
        (lambda: explorer.show_class(0), 13),
        (lambda: explorer.show_class(1), 13),
        (lambda: explorer.show_class(None), 45),
    ):
        change()
        assert (tuple(camera.center), camera.zoom) == ((15, 14, x), 7)
    assert tuple(camera.angles) == (10, 20, 30)
