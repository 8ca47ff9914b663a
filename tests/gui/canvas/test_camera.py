"""Turning the camera: what the canvas shows is the particle's image, not its mirror."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.gui.canvas.camera import CameraTurner, Click, ClickWatch, canvas_axes
from napari_cryospin.gui.canvas.sphere_layers import PosteriorOnSphere, SphereLayers
from napari_cryospin.gui.canvas.spheres import Sphere, above_volume, beside_volume, healpix_centres

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from numpy.typing import NDArray
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.usefixtures("at_once")

BOX, PIXEL = 32, 4.0
# no mirror image of these is like them: where they are, and how bright
BLOBS = [((7, 0, 2), 1.0), ((-6, 5, 0), 0.7), ((0, -8, 5), 0.5), ((3, 6, -7), 0.3)]


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((BOX,) * 3, np.float32), scale=(PIXEL,) * 3)
    viewer.dims.ndisplay = 3
    return viewer


def test_a_line_meets_the_near_side_of_a_sphere() -> None:
    sphere = Sphere((10.0, 20.0, 30.0), 5.0)
    for far in (-100.0, 3.0, 100.0):
        hit = sphere.hit(np.array([10 + far, 20, 33]), np.array([-1.0, 0, 0]))
        assert hit == pytest.approx([0.6, 0, 0.8])
    assert sphere.hit(np.array([0, 26, 30]), np.array([1.0, 0, 0])) is None


def test_small_spheres_stand_in_rows_above_and_keep_apart() -> None:
    row = above_volume(BOX, PIXEL, 11)
    centres = np.array([sphere.centre for sphere in row])
    apart = np.linalg.norm(centres[:, None] - centres, axis=2)[~np.eye(11, dtype=bool)]
    assert apart.min() > 2 * row[0].radius
    assert (centres[:, 1] < BOX / 4 * PIXEL).all()
    assert np.ptp(centres[:8, 1]) == 0
    for some in (centres[:8], centres[8:]):
        assert some[:, 2].mean() == pytest.approx(BOX // 2 * PIXEL)


ORIENTATIONS = list(product(("towards", "away"), ("down", "up"), ("right", "left")))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_pose_puts_the_images_axes_right_and_down(
    viewer: ViewerModel, orientation: tuple[str, str, str]
) -> None:
    viewer.scene.camera.orientation = orientation
    for rotation in random_rotations(5, np.random.default_rng(0)):
        CameraTurner(viewer).look_from(rotation[2], rotation)
        right, down = canvas_axes(viewer)
        assert np.allclose(right[::-1], rotation[0])
        assert np.allclose(down[::-1], rotation[1])


def test_the_camera_stands_where_the_direction_points_and_up_stays_up(viewer: ViewerModel) -> None:
    camera, turner = viewer.scene.camera, CameraTurner(viewer)
    turner.look_from(np.array([0.6, 0, 0.8]))
    assert np.allclose(camera.view_direction, (-0.8, 0, -0.6))
    assert np.allclose(camera.up_direction, (0, -1, 0))
    for up in ((0, 1, 0), (0, -1, 0)):
        turner.look_from(np.array(up))
        assert np.allclose(camera.view_direction, -np.array(up)[::-1], atol=1e-6)


def test_the_users_view_comes_back_with_his_centre_and_zoom(viewer: ViewerModel) -> None:
    camera, turner, heard = viewer.scene.camera, CameraTurner(viewer), list[bool]()
    turner.turned_changed.connect(heard.append)
    camera.angles, camera.zoom, camera.center = (10, 20, 30), 3, (1, 2, 3)
    turner.look_from(np.array([1.0, 0, 0]))
    turner.look_from(np.array([0, 0, 1.0]))
    assert turner.turned
    assert (camera.zoom, tuple(camera.center)) == (3, (1, 2, 3))
    turner.give_back()
    assert tuple(camera.angles) == (10, 20, 30)
    assert heard == [True, True, False]
    turner.give_back()
    assert len(heard) == 3


def test_a_view_that_the_user_turned_to_meanwhile_is_what_comes_back(viewer: ViewerModel) -> None:
    turner = CameraTurner(viewer)
    turner.look_from(np.array([1.0, 0, 0]))
    viewer.scene.camera.angles = (5, 6, 7)
    turner.look_from(np.array([0, 1.0, 0]))
    turner.give_back()
    assert tuple(viewer.scene.camera.angles) == (5, 6, 7)


def test_nothing_turns_in_2d(viewer: ViewerModel) -> None:
    viewer.dims.ndisplay = 2
    turner = CameraTurner(viewer)
    turner.look_from(np.array([1.0, 0, 0]))
    assert not turner.turned


class Clicked:
    def __init__(self) -> None:
        self.clicks: list[Click] = []

    def on_click(self, click: Click) -> None:
        self.clicks.append(click)


def mouse(viewer: ViewerModel, *path: tuple[float, float], **other: Any) -> None:
    """Press at the first point of a path, release at its last."""
    ray = {"position": (0.0, 0, 0), "view_direction": np.array([-1.0, 0, 0])}
    event = SimpleNamespace(**{"button": 1, "modifiers": (), "is_dragging": True, **ray, **other})
    event.type, event.pos = "mouse_press", np.array(path[0])
    event.__wrapped__ = event
    mouse_press_callbacks(viewer, event)
    for pos in path[1:]:
        event.type, event.pos = "mouse_move", np.array(pos)
        mouse_move_callbacks(viewer, event)
    event.type = "mouse_release"
    mouse_release_callbacks(viewer, event)


def test_only_a_press_without_a_drag_is_a_click(viewer: ViewerModel) -> None:
    clicked, replaced = Clicked(), Clicked()
    ClickWatch(viewer, replaced.on_click)
    ClickWatch(viewer, clicked.on_click)
    mouse(viewer, (10, 10), (12, 11))
    assert len(clicked.clicks) == 1
    mouse(viewer, (10, 10), (30, 10), (10, 10))
    mouse(viewer, (10, 10), button=2)
    mouse(viewer, (10, 10), modifiers=("Alt",))
    viewer.add_points(ndim=3).mode = "add"
    mouse(viewer, (10, 10))
    assert (len(clicked.clicks), len(replaced.clicks)) == (1, 0)


def posterior(nside: int = 4) -> PosteriorOnSphere:
    values = np.full(12 * nside**2, -6, np.float32)
    values[5] = 0
    return PosteriorOnSphere(3, nside, values, (-6, 0))


def test_a_click_on_the_sphere_turns_and_a_second_one_gives_back(viewer: ViewerModel) -> None:
    layers = SphereLayers(viewer)
    layers.set_box(BOX, PIXEL)
    sphere, camera = beside_volume(BOX, PIXEL, 1), viewer.scene.camera
    _, y, x = sphere.centre
    at_right = {"position": (0.0, y, x + 0.6 * sphere.radius)}
    mouse(viewer, (10, 10), **at_right)
    assert not layers.turner.turned, "the sphere is not there yet"
    layers.show_posterior(posterior())
    mouse(viewer, (10, 10), position=(0.0, y, x + 1.1 * sphere.radius))
    assert not layers.turner.turned
    mouse(viewer, (10, 10), **at_right)
    assert np.allclose(camera.view_direction, (-0.8, 0, -0.6))
    away = {"view_direction": np.array(camera.view_direction)}
    centre = layers._right.centre
    mouse(viewer, (11, 10), position=centre, **away)
    assert not layers.turner.turned
    assert np.allclose(camera.angles, 0)


def test_another_function_can_take_the_clicks(viewer: ViewerModel) -> None:
    layers, heard = SphereLayers(viewer), list[Any]()
    layers.set_box(BOX, PIXEL)
    layers.show_posterior(posterior())
    layers.direction_clicked = heard.append
    mouse(viewer, (10, 10), position=beside_volume(BOX, PIXEL, 1).centre)
    assert np.allclose(heard, [(0, 0, 1)])
    viewer.layers[-1].visible = False
    mouse(viewer, (10, 10), position=beside_volume(BOX, PIXEL, 1).centre)
    assert len(heard) == 1
    assert not layers.turner.turned


def blobs() -> NDArray[np.float32]:
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    volume = np.zeros((BOX,) * 3)
    for (bx, by, bz), weight in BLOBS:
        volume += weight * np.exp(-((x - bx) ** 2 + (y - by) ** 2 + (z - bz) ** 2) / 6)
    return volume.astype(np.float32)


def projection(rotation: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the image of the blobs by the first two rows of a pose, y downwards."""
    at = (np.arange(size) + 0.5 - size / 2) * BOX / size
    image = np.zeros((size, size))
    for centre, weight in BLOBS:
        x, y = rotation[:2] @ centre
        blob = weight * np.exp(-((at - x)[None, :] ** 2 + (at - y)[:, None] ** 2) / 6)
        image = np.maximum(image, blob)
    return image


def on_canvas(viewer: napari.Viewer, size: int) -> NDArray[np.float64]:
    """Return what the canvas shows of the box, in ``size`` pixels of it a side."""
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., :3].mean(axis=2)
    half = round(BOX * PIXEL * viewer.scene.camera.zoom / 2)
    row, column = (n // 2 for n in picture.shape)
    cut = picture[row - half : row + half, column - half : column + half]
    at = ((np.arange(size) + 0.5) * 2 * half / size).astype(int)
    return np.asarray(cut[np.ix_(at, at)])


def test_the_canvas_shows_a_pose_as_its_image_and_not_mirrored(
    make_napari_viewer: Callable[..., napari.Viewer],
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(blobs(), scale=(PIXEL,) * 3, rendering="mip", contrast_limits=(0, 1))
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    viewer.scene.camera.center = (BOX // 2 * PIXEL,) * 3
    for rotation in random_rotations(3, np.random.default_rng(1)):
        CameraTurner(viewer).look_from(rotation[2], rotation)
        shown, image = on_canvas(viewer, 64), projection(rotation, 64)
        like = [np.corrcoef(shown.ravel(), other.ravel())[0, 1] for other in flips(image)]
        assert like[0] > 0.9
        assert max(like[1:]) < like[0] - 0.1


def flips(image: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return an image, its mirror images, and itself upside down and on its side."""
    return [image, image[:, ::-1], image[::-1], image.T, image[::-1, ::-1]]


def test_a_real_click_in_the_window_turns_towards_what_is_clicked(
    make_napari_viewer: Callable[..., napari.Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(blobs(), scale=(PIXEL,) * 3)
    viewer.dims.ndisplay = 3
    layers = SphereLayers(viewer)
    layers.set_box(BOX, PIXEL)
    layers.show_posterior(posterior())
    native = viewer.window._qt_viewer.canvas.native
    # the window is laid out over several turns of the event loop
    qtbot.wait(300)
    viewer.reset_view()
    QApplication.processEvents()
    sphere, camera = layers._right, viewer.scene.camera
    offset = np.array(sphere.centre)[1:] - np.array(camera.center)[1:] + (0, 0.6 * sphere.radius)
    y, x = offset * camera.zoom / native.devicePixelRatioF()
    click(native, QPointF(native.width() / 2 + x, native.height() / 2 + y))
    assert layers.turner.turned
    assert np.allclose(camera.view_direction, (-0.8, 0, -0.6), atol=0.05)


def click(widget: Any, at: QPointF) -> None:
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    for kind, held in (
        (QEvent.Type.MouseButtonPress, left),
        (QEvent.Type.MouseButtonRelease, none),
    ):
        place = (at, QPointF(widget.mapToGlobal(at.toPoint())))
        no_keys = Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(widget, QMouseEvent(kind, *place, left, held, no_keys))
    QApplication.processEvents()


def test_directions_of_pixels_are_healpixs() -> None:
    assert np.allclose(np.linalg.norm(healpix_centres(4), axis=1), 1)
    assert healpix_centres(4)[0, 2] > 0.9
