"""The Views tab of the explorer: from where the particles of the stack are seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Slot
from qtpy.QtWidgets import QLabel, QWidget

from napari_cryospin.gui.colours import class_label
from napari_cryospin.gui.explorer.of_classes import told_of_class
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.views.views_view import NOBODY, ViewsView
from napari_cryospin.gui.work.background import Background

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.engine.events import PosesUpdated
    from napari_cryospin.gui.explorer.state import Explorer


# particles whose directions tell how evenly all sample the map
_MOST = 10_000

# particles per direction, nside, psi of each particle, how evenly their views sample the map, and
# why there are none
_Answer = tuple["NDArray[Any]", int, "NDArray[Any]", float | None, str]


class ViewsPanel(QWidget):
    """Distribution of view directions and in-plane angles of all present poses.

    Parameters
    ----------
    explorer
        What is looked at.
    """

    def __init__(self, explorer: Explorer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self.view = ViewsView(self)
        save = SaveButtons(self.view, self)
        save.message.connect(explorer.message)
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(3)
        self.note = QLabel(self)
        self.note.setWordWrap(True)
        self.note.hide()
        layout.addWidget(self.note)
        layout.addWidget(self.view, 1)
        layout.addWidget(save)
        self._background = Background(self)
        self._background.done.connect(self._on_counted)
        self._background.failed.connect(explorer.message)
        explorer.poses_changed.connect(self._refresh)
        explorer.class_changed.connect(self._refresh)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while the tab was hidden."""
        super().showEvent(event)
        self._refresh()

    @Slot()
    @Slot(object)
    def _refresh(self, _poses: object = None) -> None:
        poses, of_class = self._explorer.poses, self._explorer.surveyed_class
        if poses is None or not self.isVisible():
            return
        several = poses.classes is not None
        self.note.setVisible(several)
        if several:
            self.note.setText(told_of_class(of_class))

        particles, settings = self._explorer.particles, self._explorer.session.settings
        symmetry = "C1" if settings is None else settings.model.symmetry

        nobody = NOBODY
        if several and (poses.used & (poses.winner >= 0)).any():
            nobody = f"No particle in use is of class {class_label(of_class)}."

        def task() -> _Answer:
            views = counted(poses, of_class)
            return (
                *views,
                None if particles is None else evenness(poses, of_class, particles.box, symmetry),
                nobody,
            )

        self._background.submit(task)

    @Slot(object)
    def _on_counted(self, answer: _Answer) -> None:
        counts, nside, psi, sampling, nobody = answer
        self.view.set_views(counts, nside, sampling, nobody)
        self.view.set_in_plane(psi)


def counted(poses: PosesUpdated, of_class: int = 0) -> tuple[NDArray[Any], int, NDArray[Any]]:
    """Return the particles per direction, (12 nside²,), the nside, psi of each, degrees, (n,).

    Only particles of a class (from 0) with a pose that are used count. Imports torch and healpy, so
    off the main thread.
    """
    from napari_cryospin.engine.evaluation.views import counts_per_view, views_nside
    from napari_cryospin.engine.geometry.euler import euler_from_matrices
    from napari_cryospin.gui.views.mollweide import index_table

    rotations = _of_class(poses, of_class)
    nside = views_nside(rotations[:, 2])
    # the main thread then finds it ready
    index_table(nside)
    psi = euler_from_matrices(rotations)[:, 2] % 360
    return counts_per_view(rotations[:, 2], nside), nside, psi


def evenness(poses: PosesUpdated, of_class: int, box: int, symmetry: str) -> float | None:
    """Return the sampling compensation factor of the views of a class; None where it has none.

    That of large stacks is of every so many particles. Off the main thread, as :func:`counted`.
    """
    from napari_cryospin.engine.evaluation.directions import sampling_of
    from napari_cryospin.engine.geometry.symmetry import point_group

    rotations = _of_class(poses, of_class)
    if not len(rotations):
        return None
    return sampling_of(rotations[:: -(-len(rotations) // _MOST)], point_group(symmetry), box)


def _of_class(poses: PosesUpdated, of_class: int) -> NDArray[Any]:
    """Return the poses of the particles in use that have one, of a class, (m, 3, 3)."""
    chosen = poses.used & (poses.winner >= 0)
    if poses.classes is not None:
        chosen = chosen & (poses.classes == of_class)
    return poses.rotations[chosen]
