"""The camera of the canvas: how it stands, turning it and giving it back, and clicks through it.

Directions of views are (x, y, z) in the map's frame; napari's world is (z, y, x). A pose is
RELION's Euler matrix: its rows are the image's x axis, its y axis (downwards), the view direction.
With x to the right and y down, z and the view direction point away from the eye where the canvas is
right-handed for x, y, z, and towards it where it is not (napari's default).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import numpy as np
from napari.utils.camera_orientations import DepthAxisOrientation, Handedness
from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import Camera, ViewerModel
    from numpy.typing import NDArray

# of canvas pixels: a press that moves farther is a drag
STILL = 4
# nearer than this, in degrees, two views are the same
_SAME_VIEW = 3.0
_PARALLEL = 1e-3


def canvas_axes(viewer: ViewerModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vectors (z, y, x) that point right and down on the canvas."""
    if not shows_three_axes(viewer):
        return np.array([0.0, 0, 1]), np.array([0.0, 1, 0])
    camera = viewer.scene.camera
    up = np.array(camera.up_direction)
    return towards_eye(camera) * np.cross(camera.view_direction, up), -up


def towards_eye(camera: Camera) -> int:
    """Return 1 where the view direction of a pose points towards the eye, -1 where it points away.

    The map is seen as an image shows it from the end of this times the view direction.
    """
    # napari's handedness is that of z, y, x
    return 1 if camera.handedness == Handedness.RIGHT else -1


def show_right_handed(camera: Camera) -> None:
    """Let the canvas show x, y, z right-handed, as ChimeraX does; 2D views stay as they are."""
    if towards_eye(camera) == 1:
        depth, *others = camera.orientation
        away, towards = DepthAxisOrientation.AWAY, DepthAxisOrientation.TOWARDS
        camera.orientation = (away if depth == towards else towards, *others)


def shows_three_axes(viewer: ViewerModel) -> bool:
    """Return whether the canvas is in 3D, the axes in their order."""
    shown, ndim = tuple(viewer.dims.displayed), viewer.dims.ndim
    return shown == (ndim - 3, ndim - 2, ndim - 1)


class CameraTurner(QObject):
    """Turns the camera towards views of the map, and gives the user's own back.

    Centre and zoom stay as they are. ``turned_changed`` says whether there is a view to give back.
    """

    turned_changed = Signal(bool)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._camera = viewer.scene.camera
        self._before: tuple[float, float, float] | None = None
        self._turned_to: NDArray[np.float64] | None = None

    @property
    def turned(self) -> bool:
        """Whether the user's view is kept, to be given back."""
        return self._before is not None

    def look_from(
        self, direction: NDArray[np.floating], rotation: NDArray[np.floating] | None = None
    ) -> None:
        """Show the map from a view direction; nothing happens in 2D.

        Parameters
        ----------
        direction
            The view direction, (x, y, z).
        rotation
            Pose with this view direction, Euler matrix (3, 3): the canvas then shows the map as
            the image of a particle in this pose does. Otherwise what is up stays up.
        """
        if not shows_three_axes(self._viewer):
            return
        if not self._stands_where_turned():
            self._before = self._camera.angles
        self._camera.set_view_direction(*_view_and_up(self._camera, direction, rotation))
        self._turned_to = _standing(self._camera)
        self.turned_changed.emit(True)

    def give_back(self) -> None:
        """Return to the view that the user had chosen."""
        if self._before is None:
            return
        self._camera.angles, self._before = self._before, None
        self._turned_to = None
        self.turned_changed.emit(False)

    def toggle(
        self, direction: NDArray[np.floating], rotation: NDArray[np.floating] | None = None
    ) -> None:
        """Look from a view direction, or give the view back where that is looked from already."""
        view, _ = _view_and_up(self._camera, direction, rotation)
        if self.turned and _degrees_between(view, self._camera.view_direction) < _SAME_VIEW:
            self.give_back()
        else:
            self.look_from(direction, rotation)

    def _stands_where_turned(self) -> bool:
        if self._turned_to is None:
            return False
        # angles come back from the canvas as others of the same view
        return bool(np.allclose(_standing(self._camera), self._turned_to, atol=1e-3))


@dataclass(frozen=True)
class Click:
    """A click: canvas pixels (x, y), and the ray through it in the world, (z, y, x)."""

    pixel: NDArray[np.float64]
    position: NDArray[np.float64]
    view_direction: NDArray[np.float64]


class ClickWatch:
    """Calls a method back where the user clicks on the 3D canvas without dragging.

    The viewer holds the watch, and the watch holds the method weakly; a new watch replaces the one
    of a dock that was closed.
    """

    def __init__(self, viewer: ViewerModel, clicked: Callable[[Click], None]) -> None:
        self._clicked = WeakMethod(clicked)
        callbacks = viewer.mouse_drag_callbacks
        callbacks[:] = [one for one in callbacks if not isinstance(one, ClickWatch)]
        callbacks.append(self)

    def __call__(self, viewer: ViewerModel, event: Any) -> Iterator[None]:
        """Follow the mouse from press to release; napari changes ``event`` meanwhile."""
        clicked = self._clicked()
        if clicked is None or not _is_plain_press(viewer, event):
            return
        start, still = np.array(event.pos), True
        yield
        while event.type == "mouse_move":
            still = still and is_near(event.pos, start)
            yield
        if still and is_near(event.pos, start):
            clicked(_click_of(event))


def is_near(pixel: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether two pixels of the canvas are one place to a hand."""
    return bool(np.linalg.norm(pixel - other) < STILL)


def _is_plain_press(viewer: ViewerModel, event: Any) -> bool:
    """Return whether a press is no tool's: left button, nothing held, no painting layer active."""
    active = viewer.layers.selection.active
    idle = active is None or str(active.mode) == "pan_zoom"
    plain = event.type == "mouse_press" and event.button == 1 and not event.modifiers
    return plain and idle and shows_three_axes(viewer)


def _click_of(event: Any) -> Click:
    ray = (np.asarray(event.position)[-3:], np.asarray(event.view_direction)[-3:])
    return Click(np.array(event.pos), *ray)


def _view_and_up(
    camera: Camera, direction: NDArray[np.floating], rotation: NDArray[np.floating] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the camera's view and up directions, (z, y, x)."""
    if rotation is not None:
        right, down = np.asarray(rotation, dtype=np.float64)[:2, ::-1]
        # which way along the view direction is the canvas's to say: the image must not be mirrored
        return tuple(towards_eye(camera) * np.cross(right, down)), tuple(-down)
    view = -towards_eye(camera) * np.asarray(direction, dtype=np.float64)[::-1]
    up = np.array(camera.up_direction)
    if np.linalg.norm(np.cross(view, up)) < _PARALLEL:
        up = np.array(camera.view_direction) * np.sign(up @ -view)
    return tuple(view), tuple(up)


def _standing(camera: Camera) -> NDArray[np.float64]:
    return np.array([camera.view_direction, camera.up_direction])


def _degrees_between(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(np.degrees(np.arccos(np.clip(np.dot(a, b), -1, 1))))
