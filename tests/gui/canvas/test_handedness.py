"""The canvas shows x, y, z right-handed: told from pixels, with a marker that no mirror keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.utils.camera_orientations import DEFAULT_ORIENTATION

from napari_cryospin.engine.events import VolumeUpdated
from napari_cryospin.engine.geometry.rotations import random_rotations
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.canvas.camera import CameraTurner
from napari_cryospin.gui.canvas.layers import VOLUME
from napari_cryospin.gui.canvas.sphere_layers import PosteriorOnSphere
from napari_cryospin.gui.canvas.spheres import healpix_centres

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # of conftest.py
    Canvas = Any

pytestmark = pytest.mark.usefixtures("at_once")

BOX, PIXEL = 32, 2.0
MIDDLE = BOX // 2 * PIXEL
ANGLES = [(0, 0, 0), (-160, 40, 70)]


def show_ball(canvas: Canvas, at: NDArray[np.float64]) -> None:
    """Show a map with one ball, ``at`` (x, y, z) pixels from its middle."""
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    distance = (x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2
    volume = np.exp(-distance / 4).astype(np.float32)
    canvas.session.volume_updated.emit(VolumeUpdated(0, Inference.DIRECT, volume, PIXEL))


def picture(canvas: Canvas) -> NDArray[np.float64]:
    shot = canvas.viewer.screenshot(canvas_only=True, flash=False)
    return np.asarray(shot[..., :3], dtype=np.float64)


def seen_at(canvas: Canvas, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a ball of the map is seen: map pixels to the right of the middle, and up."""
    show_ball(canvas, at)
    seen = picture(canvas).sum(axis=2)
    rows, columns = np.nonzero(seen > (seen.min() + seen.max()) / 2)
    height, width = seen.shape
    scale = canvas.viewer.scene.camera.zoom * PIXEL
    return np.array([columns.mean() - width / 2, height / 2 - rows.mean()]) / scale


def is_towards_eye(canvas: Canvas, direction: NDArray[np.float64]) -> bool:
    """Return whether a unit vector (x, y, z) points out of the screen, by what hides what.

    Of a red disc at its end and a blue one at its other end, one is seen in the middle.
    """
    viewer = canvas.viewer
    ends = MIDDLE + 3 * PIXEL * np.array([direction, -direction])[:, ::-1]
    viewer.layers[VOLUME].visible = False
    viewer.add_points(
        ends, size=20 * PIXEL, face_color=["red", "blue"], border_width=0, name="ends", opacity=1
    )
    shown = picture(canvas)
    red, _, blue = shown[shown.shape[0] // 2, shown.shape[1] // 2]
    viewer.layers.remove("ends")
    viewer.layers[VOLUME].visible = True
    assert abs(red - blue) > 100
    return bool(red > blue)


def is_right_handed(canvas: Canvas) -> bool:
    """Return whether x̂ × ŷ, as they are seen, points the way that ẑ is seen to point."""
    x, y = (seen_at(canvas, 8 * axis) for axis in np.eye(3)[:2])
    out_of_screen = x[0] * y[1] - x[1] * y[0]
    assert abs(out_of_screen) > 5
    return (out_of_screen > 0) == is_towards_eye(canvas, np.eye(3)[2])


def test_the_first_map_is_shown_right_handed(canvas: Canvas) -> None:
    camera = canvas.viewer.scene.camera
    show_ball(canvas, np.zeros(3))
    for angles in ANGLES:
        camera.angles = angles
        assert is_right_handed(canvas)
    # as napari shows it, and the view is the user's from here on
    camera.orientation = DEFAULT_ORIENTATION
    for angles in ANGLES:
        camera.angles = angles
        assert not is_right_handed(canvas)


def test_a_users_own_right_handed_view_stays(canvas: Canvas) -> None:
    camera = canvas.viewer.scene.camera
    camera.orientation = own = ("towards", "up", "right")
    show_ball(canvas, np.zeros(3))
    assert tuple(map(str, camera.orientation)) == own
    assert is_right_handed(canvas)


def test_a_pose_shows_the_map_as_its_image_does(canvas: Canvas) -> None:
    show_ball(canvas, np.zeros(3))
    turner, at = CameraTurner(canvas.viewer), np.array([7.0, -4, 5])
    for rotation in random_rotations(2, np.random.default_rng(2)):
        turner.look_from(rotation[2], rotation)
        right, down, away = rotation @ at
        assert np.allclose(seen_at(canvas, at), (right, -down), atol=0.5)
        assert is_towards_eye(canvas, at / np.linalg.norm(at)) == (away < 0)


@pytest.mark.parametrize("with_pose", [True, False])
def test_the_patch_of_a_view_that_is_looked_from_is_in_front(
    canvas: Canvas, with_pose: bool
) -> None:
    show_ball(canvas, np.zeros(3))
    spheres, camera = canvas.spheres, canvas.viewer.scene.camera
    spheres.set_box(BOX, PIXEL)
    patch, nside = 70, 4
    values = np.full(12 * nside**2, -6, dtype=np.float32)
    values[patch] = 0
    spheres.show_posterior(PosteriorOnSphere(0, nside, values, (-6, 0)))
    view = healpix_centres(nside)[patch]
    sideways = np.cross(view, (0.3, 0.5, 0.8))
    sideways /= np.linalg.norm(sideways)
    rotation = np.array([sideways, np.cross(view, sideways), view])
    spheres.turner.look_from(view, rotation if with_pose else None)
    layer = canvas.viewer.layers["Posterior of particle 0"]
    corners = layer.vertices[4 * patch : 4 * patch + 4].mean(axis=0)
    sphere = spheres._right
    towards = -np.array(camera.view_direction)
    assert (corners - sphere.centre) @ towards == pytest.approx(sphere.radius, rel=0.05)
    # and a click there means that view
    hit = sphere.hit(np.array(sphere.centre), np.array(camera.view_direction))
    assert hit == pytest.approx(view, abs=1e-6)
