"""The Posterior: where one particle may be seen from, given the present map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Slot
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.gui.mollweide_view import Marks, MollweideView, Scale
from napari_cryospin.gui.particle_view import ParticleView
from napari_cryospin.gui.posterior_worker import PosteriorService
from napari_cryospin.gui.sphere_layers import PosteriorOnSphere, SphereLayers

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtGui import QShowEvent

    from napari_cryospin.gui.posterior_worker import (
        ExplorerFactory,
        PosteriorFailure,
        PosteriorResult,
    )
    from napari_cryospin.gui.session import Session

# new maps are taken up at most once a second, and this many times as long as an answer takes:
# the posterior must not slow the training that it looks at
INTERVAL_MS = 1000
_REST = 4
_LEGEND = "①② head candidates · ○ winner · ✚ present pose · ★ truth"


class PosteriorPanel(QWidget):
    """Chooses a particle and shows its pose posterior, in the panel and on the canvas.

    Parameters
    ----------
    session
        Where the stack, the map and the poses come from.
    viewer
        Where the spheres are drawn.
    factory
        Makes the posterior explorer of a stack.
    """

    def __init__(
        self,
        session: Session,
        viewer: ViewerModel,
        parent: QWidget | None = None,
        *,
        factory: ExplorerFactory | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._result: PosteriorResult | None = None
        self._stale = False
        self._build()
        self.layers = SphereLayers(viewer)
        self.service = PosteriorService(self, factory)
        self.service.ready.connect(self._on_ready)
        self.service.failed.connect(self._on_failed)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self._refresh)
        session.run_started.connect(self._on_run_started)
        session.run_opened.connect(self._on_run_started)
        session.volume_updated.connect(self._on_volume_updated)
        session.poses_updated.connect(self._on_poses_updated)
        self._on_volume_updated(session.latest_volume)

    @property
    def particle(self) -> int:
        """Index of the chosen particle in the working stack, from 0."""
        return int(self.spin.value())

    def showEvent(self, event: QShowEvent | None) -> None:
        """Catch up with what happened while the panel was hidden."""
        super().showEvent(event)
        self._refresh()

    def _build(self) -> None:
        self.spin = QSpinBox(self)
        self.spin.setKeyboardTracking(False)
        self.spin.valueChanged.connect(self._on_particle_changed)
        self.of = QLabel(self)
        self.scale = QComboBox(self)
        for scale in Scale:
            self.scale.addItem(scale.value, scale)
        self.scale.currentIndexChanged.connect(self._on_scale_changed)
        self.mollweide = MollweideView(self)
        self.mollweide.setMinimumHeight(210)
        self.hover = QLabel(_LEGEND, self)
        self.mollweide.hovered.connect(self._on_hovered)
        self.images = ParticleView(self)
        self.images.setMinimumHeight(125)
        self.text = QLabel("No map yet: the posterior is shown with the first one.", self)
        self.text.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(3)
        layout.addLayout(self._chooser())
        layout.addWidget(self.mollweide, 3)
        layout.addWidget(self.hover)
        layout.addWidget(self.scale)
        layout.addWidget(self.images, 2)
        layout.addWidget(self.text)
        self._set_count(0)

    def _chooser(self) -> QHBoxLayout:
        self.previous, self.next = QToolButton(self), QToolButton(self)
        self.previous.setText("◀")
        self.previous.setToolTip("Previous particle")
        self.previous.clicked.connect(self.spin.stepDown)
        self.next.setText("▶")
        self.next.setToolTip("Next particle")
        self.next.clicked.connect(self.spin.stepUp)
        self.random = QPushButton("Random", self)
        self.random.clicked.connect(self._choose_random)
        row = QHBoxLayout()
        for widget in (QLabel("Particle", self), self.previous, self.spin, self.next, self.of):
            row.addWidget(widget)
        row.addStretch()
        row.addWidget(self.random)
        return row

    def _set_count(self, n: int) -> None:
        self.spin.setMaximum(max(n - 1, 0))
        self.of.setText(f"0 to {n - 1}" if n else "")
        for widget in (self.spin, self.previous, self.next, self.random):
            widget.setEnabled(n > 0)

    @Slot()
    def _choose_random(self) -> None:
        self.spin.setValue(int(np.random.default_rng().integers(self.spin.maximum() + 1)))

    @Slot(object)
    def _on_run_started(self, _event: object) -> None:
        self.layers.new_run()
        self.service.forget()
        self._result = None
        self.mollweide.clear()
        self.images.clear()
        self.text.setText("Waiting for the first map of this run.")
        self._set_count(self._session.stack.n if self._session.stack is not None else 0)

    @Slot(object)
    def _on_volume_updated(self, _event: object) -> None:
        stack = self._session.stack
        if stack is not None and self.spin.maximum() != stack.n - 1:
            self._set_count(stack.n)
        self._stale = True
        if self._wanted() and not self._timer.isActive():
            self._timer.start()

    @Slot(object)
    def _on_poses_updated(self, _event: object) -> None:
        # healpy is imported by the first answer, off the main thread
        if self._result is not None:
            self._show_marks()
            self._show_views()

    @Slot(int)
    def _on_particle_changed(self, _particle: int) -> None:
        self._ask()

    @Slot(int)
    def _on_scale_changed(self, _index: int) -> None:
        self.mollweide.set_scale(self.scale.currentData())

    @Slot(str)
    def _on_hovered(self, text: str) -> None:
        self.hover.setText(text or _LEGEND)

    def _wanted(self) -> bool:
        return self.isVisible() or self.layers.posterior_shown

    @Slot()
    def _refresh(self) -> None:
        """Take up the latest map, unless the last answer is still being computed."""
        if not (self._stale and self._wanted()):
            return
        if self.service.busy:
            self._timer.start()
        else:
            self._ask()

    def _ask(self) -> None:
        stack, volume = self._session.stack, self._session.latest_volume
        if stack is None or volume is None:
            return
        self._stale = False
        particle, poses = min(self.particle, stack.n - 1), self._session.latest_poses
        x, y = (0.0, 0.0) if poses is None else poses.shifts[particle] / stack.pixel_size
        self.service.ask(stack, volume, particle, (float(x), float(y)))

    @Slot(object)
    def _on_ready(self, result: PosteriorResult) -> None:
        self._result = result
        self._timer.setInterval(max(INTERVAL_MS, int(1000 * _REST * result.seconds)))
        posterior, volume = result.posterior, result.request.volume
        self.mollweide.set_posterior(posterior.direction_probability, posterior.nside)
        self.images.set_images(posterior.image, posterior.projection, posterior.difference)
        self.text.setText(describe(result))
        self.layers.set_box(volume.volume.shape[0], volume.pixel_size)
        self.layers.show_posterior(
            PosteriorOnSphere(
                posterior.particle,
                posterior.nside,
                Scale.LOG.values(posterior.direction_probability),
                Scale.LOG.levels,
            )
        )
        self._show_marks()
        self._show_views()

    @Slot(object)
    def _on_failed(self, failure: PosteriorFailure) -> None:
        particle = failure.request.particle
        self.text.setText(f"No posterior for particle {particle}: {failure.message}")

    def _show_marks(self) -> None:
        if self._result is not None:
            marks = marks_of(self._session, self._result.posterior.particle)
            self.mollweide.set_marks(marks)
            self.layers.show_candidates(marks.candidates, marks.winner)

    def _show_views(self) -> None:
        poses = self._session.latest_poses
        if poses is not None:
            self.layers.show_views(poses.rotations[:, 2], poses.winning_head)


def marks_of(session: Session, particle: int) -> Marks:
    """Return what the session knows of a particle's pose, as view directions."""
    poses, truths = session.latest_poses, session.truth_rotations
    truth = None if truths is None else truths[particle, 2]
    if poses is None:
        return Marks(np.empty((0, 3)), -1, truth=truth)
    winner = int(poses.winning_head[particle])
    # the candidates of a particle that no head has seen yet are placeholders
    candidates = poses.candidates[particle, :, 2] if winner >= 0 else np.empty((0, 3))
    return Marks(candidates, winner, poses.rotations[particle, 2], truth)


def describe(result: PosteriorResult) -> str:
    """Return the figures of a posterior in words."""
    posterior, request = result.posterior, result.request
    rot, tilt, psi = result.angles
    row = int(request.stack.rows[posterior.particle])
    x, y = np.asarray(posterior.best_shift, dtype=np.float64) * request.stack.pixel_size
    return (
        f"<b>Entropy</b> {posterior.entropy:.2f} nats "
        f"(like {math.exp(posterior.entropy):.1f} equal poses)<br>"
        f"<b>Best pose</b> rot {rot:.1f}°, tilt {tilt:.1f}°, psi {psi:.1f}°, "
        f"shift {x:.1f}, {y:.1f} Å<br>"
        f"<b>Map</b> of epoch {request.volume.epoch + 1} ({request.volume.stage}); "
        f"table row {row + 1}"
    )
