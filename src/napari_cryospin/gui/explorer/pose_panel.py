"""The Pose tab of the explorer: where one particle may be seen from, given the shown map."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Slot
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_cryospin.gui.colours import DECODING, ENCODING, class_label
from napari_cryospin.gui.explorer.of_classes import class_words
from napari_cryospin.gui.explorer.state import candidates_of, heads_of, winner_of
from napari_cryospin.gui.views.export import SaveButtons
from napari_cryospin.gui.views.flowing import as_stretched, turning_box, turning_row
from napari_cryospin.gui.views.in_plane_view import InPlaneView
from napari_cryospin.gui.views.mode_table import ModeRows, ModeTable
from napari_cryospin.gui.views.mollweide_view import (
    NO_CANDIDATES,
    CandidateMarks,
    Marks,
    MollweideView,
    Scale,
)
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.views.zoom_view import ZoomView

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QBoxLayout

    from napari_cryospin.engine.runfolder.records import Trajectory
    from napari_cryospin.gui.explorer.posterior_worker import PosteriorResult
    from napari_cryospin.gui.explorer.state import Explorer
    from napari_cryospin.gui.work.one_by_one import OneByOne

_LEGEND = (
    "① candidate · ○ winner · ✚ present · ★ truth · way: "
    f'<span style="color: {ENCODING}">●</span> earlier stages '
    f'<span style="color: {DECODING}">●</span> auto-decoding'
)
_FACTS_WIDTH = 190
# low-passes that are offered, frequency radius in units of 1/box
_RADII = (4, 6, 8, 12, 16, 24)


class PosePanel(QWidget):
    """Heatmap of directions, zoom on a mode, in-plane profile, and the modes of one posterior.

    Parameters
    ----------
    explorer
        What is looked at.
    pieces
        Where what a posterior changes waits for its turn.
    """

    def __init__(self, explorer: Explorer, pieces: OneByOne, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self._result: PosteriorResult | None = None
        self._trail: Trajectory | None = None
        self._mode = 0
        self._pieces = pieces
        self._build()
        explorer.run_changed.connect(self.clear)
        explorer.particle_changed.connect(self._on_particle_changed)

    def _build(self) -> None:
        self.mollweide = MollweideView(self)
        self.mollweide.setMinimumHeight(170)
        self.mollweide.setToolTip("Click: zoom on the nearest mode")
        self.mollweide.hovered.connect(self._on_hovered)
        self.mollweide.pixel_hovered.connect(self._on_pixel_hovered)
        self.mollweide.clicked.connect(self._on_clicked)
        self.hover = QLabel(_LEGEND, self)
        self.hover.setWordWrap(True)
        # two lines, whatever is said: nothing moves
        self.hover.setFixedHeight(2 * self.hover.fontMetrics().lineSpacing() + 4)
        self.zoom, self.in_plane = ZoomView(self), InPlaneView(self)
        self.modes = ModeTable(self)
        self.modes.chosen.connect(self.look_at_mode)
        self.modes.setMinimumHeight(84)
        self.text = QLabel("No map yet: the posterior is shown with the first one.", self)
        self.text.setWordWrap(True)
        self.text.setMinimumWidth(_FACTS_WIDTH)
        as_stretched(self.mollweide, self.hover, self.zoom, self.in_plane, self.text, self.modes)
        heatmap, facts = QVBoxLayout(), QVBoxLayout()
        heatmap.addWidget(self.mollweide, 1)
        heatmap.addWidget(self.hover)
        facts.addWidget(self.text)
        facts.addWidget(self.modes, 1)
        layout = scrolling_layout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(3)
        layout.addLayout(self._controls())
        layout.addLayout(turning_box(self, (heatmap, 4), (self._small_views(), 5), (facts, 3)), 1)

    def _controls(self) -> QBoxLayout:
        self.scale = QComboBox(self)
        for scale in Scale:
            self.scale.addItem(scale.label, scale)
        self.scale.setToolTip("How probabilities become colours")
        self.scale.currentIndexChanged.connect(self._on_scale_changed)
        self.low_pass = QComboBox(self)
        self.low_pass.setToolTip("Low-pass: frequencies beyond it are left out of the posterior")
        self.low_pass.addItem("no low-pass", None)
        self.low_pass.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.low_pass.activated.connect(self._on_low_pass)
        self.temperature = QDoubleSpinBox(self)
        self.temperature.setPrefix("T ")
        self.temperature.setRange(0.1, 10_000)
        self.temperature.setDecimals(1)
        self.temperature.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.temperature.setValue(1)
        self.temperature.setKeyboardTracking(False)
        self.temperature.setToolTip(
            "Temperature: log-probabilities are divided by it; above 1 less probable poses show"
        )
        self.temperature.valueChanged.connect(self._on_temperature)
        self.save = SaveButtons(self.mollweide, self)
        self.save.message.connect(self._explorer.message)
        return turning_row(self, self.scale, self.low_pass, self.temperature, self.save)

    def _small_views(self) -> QHBoxLayout:
        row = QHBoxLayout()
        for view, stretch in ((self.zoom, 4), (self.in_plane, 5)):
            column = QVBoxLayout()
            column.setSpacing(0)
            view.setMinimumSize(150, 120)
            column.addWidget(view, 1)
            buttons = SaveButtons(view, self)
            buttons.message.connect(self._explorer.message)
            column.addWidget(buttons)
            row.addLayout(column, stretch)
        return row

    def show_result(self, result: PosteriorResult) -> None:
        """Show a posterior."""
        first = self._result is None
        self._result = result
        posterior = result.posterior
        if first:
            self._offer_low_passes()
        self._mode = min(self._mode, max(len(posterior.modes) - 1, 0))
        self.mollweide.set_posterior(
            posterior.direction_probability, posterior.nside, result.best_psi
        )
        self.text.setText(describe(result))
        self._pieces.add(self._show_details)

    def _show_details(self) -> None:
        if self._result is None:
            return
        posterior = self._result.posterior
        self.zoom.set_posterior(*posterior.fine_directions, posterior.fine.nside)
        self._show_mode()
        self._show_marks()
        self.modes.set_modes(mode_rows(self._result))

    def wait_for(self, epoch: int) -> None:
        """Say that the posterior against the map of an epoch is being computed."""
        # as many lines as with the answer: nothing moves
        lines = "<br>" * (1 + (self._explorer.n_classes > 1))
        self.text.setText(f"Computing the posterior against the map of epoch {epoch + 1} …{lines}")

    def show_trail(self, trail: Trajectory) -> None:
        """Show the way of the particle over the epochs."""
        self._trail = trail
        self._show_marks()

    @Slot()
    def clear(self) -> None:
        """Show nothing, until the first posterior of another run."""
        self._result = self._trail = None
        self._mode = 0
        self.mollweide.clear()
        self.zoom.clear()
        self.modes.clear_modes()
        self.text.setText("Waiting for the first map of this run.")

    @Slot(int)
    def look_at_mode(self, mode: int) -> None:
        """Put a mode into the middle of the zoom."""
        self._mode = mode
        self._show_mode()

    def _show_mode(self) -> None:
        if self._result is None or len(self._result.posterior.modes) == 0:
            return
        direction = self._result.posterior.modes[self._mode, 2]
        self.zoom.set_centre(direction)
        self._show_profile(self._result.posterior.peak_near(direction))

    def _show_profile(self, pixel: int) -> None:
        assert self._result is not None
        posterior = self._result.posterior
        psi, probability = posterior.in_plane(pixel)
        rot, tilt = posterior.angles_of_pixel(pixel)
        self.in_plane.set_profile(
            psi,
            probability,
            float(posterior.probability.max()),
            self.scale.currentData(),
            f"rot {rot:.0f}°, tilt {tilt:.0f}°",
        )

    def _show_marks(self) -> None:
        if self._result is None:
            return
        particle = self._result.posterior.particle
        # the trail of a particle may be there before its posterior
        trail = self._trail if particle == self._explorer.particle else None
        marks = marks_of(self._explorer, self._result, trail)
        self.mollweide.set_marks(marks)
        self.zoom.set_marks(marks)

    def _offer_low_passes(self) -> None:
        """Name the low-passes in Å of the present stack."""
        particles = self._explorer.particles
        assert particles is not None
        present = self._explorer.options.radius
        self.low_pass.clear()
        self.low_pass.addItem("no low-pass", None)
        for radius in (radius for radius in _RADII if radius < particles.box // 2):
            self.low_pass.addItem(
                f"{particles.box * particles.pixel_size / radius:.0f} Å", float(radius)
            )
        self.low_pass.setCurrentIndex(max(self.low_pass.findData(present), 0))

    @Slot(int)
    def _on_scale_changed(self, _index: int) -> None:
        scale = self.scale.currentData()
        self.mollweide.set_scale(scale)
        self.zoom.set_scale(scale)
        self._show_mode()

    @Slot(int)
    def _on_low_pass(self, _index: int) -> None:
        self._explorer.set_options(radius=self.low_pass.currentData())

    @Slot(float)
    def _on_temperature(self, value: float) -> None:
        self._explorer.set_options(temperature=value)

    @Slot(int)
    def _on_particle_changed(self, _particle: int) -> None:
        self._trail, self._mode = None, 0

    @Slot(str)
    def _on_hovered(self, text: str) -> None:
        self.hover.setText(text or _LEGEND)

    @Slot(int)
    def _on_pixel_hovered(self, pixel: int) -> None:
        if self._result is None:
            return
        if pixel < 0:
            self._show_mode()
        else:
            self._show_profile(pixel)

    @Slot(object)
    def _on_clicked(self, direction: NDArray[np.float64]) -> None:
        if self._result is not None and len(self._result.posterior.modes):
            views = self._result.posterior.modes[:, 2]
            self.look_at_mode(int((views @ direction).argmax()))


def marks_of(explorer: Explorer, result: PosteriorResult, trail: Trajectory | None) -> Marks:
    """Return what is known of a particle's pose, as view directions.

    The poses are those that came with the posterior: later ones belong to another map.
    """
    poses, particle = result.request.poses, result.posterior.particle
    if poses is None:
        return Marks(NO_CANDIDATES)
    marks = Marks(
        candidate_marks(result),
        poses.rotations[particle, 2],
        None if (true := poses.truth_of(particle)) is None else true[2],
    )
    if trail is None or len(trail.epochs) == 0:
        return marks
    shown = trail.epochs[-1] if explorer.epoch is None else explorer.epoch
    now = np.flatnonzero(trail.epochs == shown)
    return replace(
        marks,
        trail=trail.rotations[:, 2],
        decoding=np.array([one.is_fine for one in trail.inferences]),
        now=int(now[0]) if len(now) else -1,
    )


def candidate_marks(result: PosteriorResult) -> CandidateMarks:
    """Return the candidates that came with a posterior, as view directions."""
    poses, particle = result.request.poses, result.posterior.particle
    beside = result.posterior.stand_ins
    if beside is None:
        return NO_CANDIDATES
    return CandidateMarks(
        result.request.candidates[:, 2],
        heads_of(poses, particle),
        beside.weight_of(),
        beside.places,
        winner_of(poses, particle),
    )


def mode_rows(result: PosteriorResult) -> ModeRows:
    """Return the rows of the table of modes."""
    posterior, poses = result.posterior, result.request.poses
    truth, true = None, None if poses is None else poses.truth_of(posterior.particle)
    if true is not None:
        truth = int(posterior.mode_of(true[None])[0])
    return ModeRows(
        posterior.mode_weights,
        posterior.mode_distances,
        result.mode_angles,
        heads_of(poses, posterior.particle),
        posterior.mode_of(candidates_of(poses, posterior.particle)),
        truth,
    )


def describe(result: PosteriorResult) -> str:
    """Return the figures of a posterior in words."""
    posterior, request = result.posterior, result.request
    x, y = np.asarray(posterior.best_shift) * request.particles.pixel_size
    equal = math.exp(posterior.entropy)
    return (
        f"<b>Entropy</b> {posterior.entropy:.2f} nats on the grid "
        f"(like {equal:{'.1f' if equal < 10 else ',.0f'}} equal poses) · "
        f"<b>modes</b> {posterior.n_modes}{_covered(result)}<br>"
        f"<b>Shift</b> {x:.1f}, {y:.1f} Å · <b>map</b> of {_of_class(result)}"
        f"epoch {request.volume.epoch + 1} ({request.volume.inference.label})"
        f"{_classes(result)}"
    )


def _of_class(result: PosteriorResult) -> str:
    request = result.request
    several = len(request.volume.maps) > 1
    return f"class {class_label(request.of_class)}, " if several else ""


def _classes(result: PosteriorResult) -> str:
    """Return a line with the class of the particle and the probability of each, of several."""
    words = class_words(result.request.poses, result.posterior.particle)
    return f"<br>{words}" if words else ""


def _covered(result: PosteriorResult) -> str:
    """Return in words what the candidates cover of the posterior."""
    beside, poses = result.posterior.stand_ins, result.request.poses
    if beside is None or poses is None:
        return ""
    who = "the heads" if poses.inference.has_heads else "the candidates"
    share, chance = (_percent(x) for x in (beside.coverage, beside.random_coverage))
    return f" · {who} <b>cover</b> {share} of it (random poses: {chance})"


def _percent(share: float) -> str:
    return f"{100 * share:.{'1' if 0 < share < 0.01 else '0'}f} %"
