"""The Monitor: loss, pose error, resolution and the heads' shares while a run goes on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Slot
from qtpy.QtWidgets import QLabel, QWidget

from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.fsc import SHARED
from napari_cryospin.engine.settings import MOST_CLASSES
from napari_cryospin.gui.colours import class_colour, class_label
from napari_cryospin.gui.describe import stage_begins, stage_names
from napari_cryospin.gui.views.epoch_plot import EpochPlot, HeadPlot
from napari_cryospin.gui.views.fsc_view import FscView
from napari_cryospin.gui.views.scrolling import scrolling_layout
from napari_cryospin.gui.work.one_by_one import OneByOne

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QHideEvent, QShowEvent

    from napari_cryospin.engine.events import BatchDone, EpochDone, EpochStarted, RunStarted
    from napari_cryospin.engine.fsc_events import FscUpdated
    from napari_cryospin.gui.work.session import Session

_BLUE, _ORANGE, _GREEN, _PURPLE = "#56B4E9", "#E69F00", "#009E73", "#CC79A7"
# curves of the switch, and the figures that they show
_SWITCH = {
    "in best mode": "winner_in_best_mode",
    "gap": "amortization_gap",
}
# curves of the heads as a posterior, and the figures that they show
_HEADS = {
    "covered": "coverage",
    "random": "random_coverage",
    "weights off": "calibration_error",
}
_NOTE = "A lower loss is not a better map: look at the map, and at its resolution."


class MonitorPanel(QWidget):
    """Plots of a session's run over its epochs, drawn while they are seen.

    Every batch draws the loss alone, and the session sees to it that batches do not come faster
    than they can be drawn. An epoch draws one plot after the other: all at once take too long.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._build()
        self._plots = (
            self._draw_loss,
            self._draw_gain,
            self._draw_switch,
            self._draw_posterior,
            self._draw_outliers,
            self._draw_classes,
            self._draw_halves,
            self._draw_truth,
            self._draw_heads,
        )
        self._pieces = OneByOne(self, first_ms=0)
        self._clear()
        for done in session.history:
            self._on_epoch_done(done)
        session.run_started.connect(self._on_run_started)
        session.batch_done.connect(self._on_batch_done)
        session.epoch_started.connect(self._on_epoch_started)
        session.epoch_done.connect(self._on_epoch_done)
        session.fsc_updated.connect(self._on_fsc_updated)
        session.run_opened.connect(self._on_run_opened)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Draw what happened while the panel was hidden."""
        super().showEvent(event)
        self._pieces.forget()
        for draw in self._plots:
            draw()

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Draw no more: all is drawn when the panel is shown again."""
        super().hideEvent(event)
        self._pieces.forget()

    def _build(self) -> None:
        self.loss = EpochPlot(
            "Loss", "loss", {"batch": _BLUE, "epoch": _ORANGE}, thin=("batch",), parent=self
        )
        self.pose_error = EpochPlot(
            "Pose error", "error (°)", {"median": _BLUE, "mean": _ORANGE}, parent=self
        )
        self.resolution = EpochPlot(
            "Resolution, FSC 0.5 with the truth", "Å", {"resolution": _GREEN}, parent=self
        )
        self.gain = EpochPlot(
            "Gain by the map",
            "nats each",
            {"gain": _PURPLE, "needed": _ORANGE},
            parent=self,
        )
        self.gain.setToolTip(
            "How much more likely the map makes the particles that it has not learned from than "
            "its rotational average does; in auto-encoding, what one of the last epochs needs for "
            "it to go on"
        )
        self.heads = HeadPlot(self)
        self.switch = EpochPlot(
            "Switch",
            "%",
            {"in best mode": _BLUE, "gap": _GREEN},
            parent=self,
        )
        self.switch.setToolTip(
            "Share of the held-out particles whose winning head lies in the best mode of their "
            "posterior, which auto-decoding cannot raise; and the share of the error that refining "
            "each pose for itself would take away, which it will"
        )
        self.posterior = EpochPlot(
            "Heads",
            "%",
            {"covered": _BLUE, "random": _ORANGE, "weights off": _PURPLE},
            parent=self,
        )
        self.posterior.setToolTip(
            "Share of the held-out particles' posterior within 15° of a candidate, and of as many "
            "random poses; and by how much the weights of the candidates' modes are off, on average"
        )
        self.outliers = EpochPlot("Outliers", "% of images", {"outliers": _ORANGE}, parent=self)
        self.outliers.setToolTip(
            "Share of the images that are not likely to show the particle, and go into no map; the "
            "table of particles tells which they are"
        )
        self.classes = EpochPlot(
            "Classes",
            "% of particles",
            {class_label(n): class_colour(n) for n in range(MOST_CLASSES)},
            parent=self,
        )
        self.classes.setToolTip(
            "Share of the particles whose most probable class is each, in the colours that their "
            "maps have on the canvas"
        )
        self.classes.hide()
        self.halves = EpochPlot(
            "Resolution, FSC 0.143 of halves", "Å", {"halves": _BLUE}, parent=self
        )
        self.fsc = FscView(self)
        self.gain.hide()
        self.switch.hide()
        self.posterior.hide()
        self.outliers.hide()
        self._over_epochs = (
            self.loss,
            self.gain,
            self.switch,
            self.posterior,
            self.outliers,
            self.classes,
            self.halves,
            self.pose_error,
            self.resolution,
        )
        # one epoch stands below the other, though not every stage measures everything
        for plot in self._over_epochs[1:]:
            plot.setXLink(self.loss)
        self.note = QLabel(_NOTE, self)
        self.note.setWordWrap(True)
        layout = scrolling_layout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(2)
        for widget in (
            self.loss,
            self.note,
            self.gain,
            self.switch,
            self.posterior,
            self.outliers,
            self.classes,
            self.fsc,
            self.halves,
            self.pose_error,
            self.resolution,
            self.heads,
        ):
            layout.addWidget(widget, 0 if widget is self.note else 1)

    def _clear(self) -> None:
        self._batches: list[tuple[float, float]] = []
        self._epochs: dict[int, EpochDone] = {}
        self._present: EpochStarted | None = None
        self._fsc: FscUpdated | None = None

    @Slot(object)
    def _on_run_started(self, event: RunStarted) -> None:
        self._clear()
        # a resumed run goes on where its figures end
        for done in self._session.history:
            if done.epoch < event.first_epoch:
                self._on_epoch_done(done)
        self._soon()

    @Slot(object)
    def _on_run_opened(self, _snapshot: object) -> None:
        self._clear()
        self._soon()

    @Slot(object)
    def _on_batch_done(self, event: BatchDone) -> None:
        self._batches.append((event.epoch + event.batch / event.n_batches, event.loss))
        if self.isVisible():
            self._draw_batches()

    @Slot(object)
    def _on_epoch_started(self, event: EpochStarted) -> None:
        self._present = event
        if self.isVisible():
            self._mark_stages()

    @Slot(object)
    def _on_epoch_done(self, event: EpochDone) -> None:
        self._epochs[event.epoch] = event
        self._soon()

    @Slot(object)
    def _on_fsc_updated(self, event: FscUpdated) -> None:
        # it is drawn with its epoch, which ends now
        self._fsc = event

    def _soon(self) -> None:
        if self.isVisible():
            for draw in self._plots:
                self._pieces.add(draw)

    def _draw_loss(self) -> None:
        self._draw_batches()
        self.loss.set_curve("epoch", *_columns(self._over(lambda done: done.loss)))
        self._mark_stages()

    def _mark_stages(self) -> None:
        history = list(self._epochs.values())
        self.note.setText(f"{_NOTE} {stage_names(history)}".strip())
        begins = stage_begins(history, self._present)
        for plot in self._over_epochs:
            plot.mark_stages(begins)

    def _draw_truth(self) -> None:
        median = self._over(lambda done: done.median_pose_error)
        self.pose_error.set_curve("median", *_columns(median))
        mean = self._over(lambda done: done.mean_pose_error)
        self.pose_error.set_curve("mean", *_columns(mean))
        resolution = self._over(lambda done: done.resolution)
        self.resolution.set_curve("resolution", *_columns(resolution))
        self.pose_error.setVisible(bool(median))
        self.resolution.setVisible(bool(resolution))

    def _draw_heads(self) -> None:
        last = self._last_encoding()
        self.heads.setVisible(last is not None)
        if last is not None:
            over = last.epoch < max(self._epochs)
            self.heads.set_shares(
                last.head_share, last.effective_heads, last.epoch + 1 if over else None
            )

    def _draw_switch(self) -> None:
        self.switch.setVisible(self._last_encoding() is not None)
        for name, figure in _SWITCH.items():
            self.switch.set_curve(name, *_columns(self._over(partial(_switch_percent, figure))))

    def _draw_posterior(self) -> None:
        known = self._over(partial(_heads_percent, "coverage"))
        self.posterior.setVisible(bool(known))
        for name, figure in _HEADS.items():
            self.posterior.set_curve(name, *_columns(self._over(partial(_heads_percent, figure))))

    def _draw_outliers(self) -> None:
        share = self._over(lambda done: None if done.outliers is None else 100 * done.outliers)
        self.outliers.setVisible(bool(share))
        self.outliers.set_curve("outliers", *_columns(share))

    def _draw_classes(self) -> None:
        n = max((len(done.class_share) for done in self._epochs.values()), default=0)
        self.classes.setVisible(n > 1)
        if n > 1:
            self.classes.name_curves("Classes", [class_label(number) for number in range(n)])
        for number in range(MOST_CLASSES):
            share = self._over(partial(_class_percent, number))
            self.classes.set_curve(class_label(number), *_columns(share))

    def _draw_halves(self) -> None:
        session = self._session
        curves = {} if self._fsc is None else self._fsc.curves
        # of a run that is opened, or that another process writes: what it has written
        if not curves and not session.active and session.folder is not None:
            written = RunFolder(session.folder).fsc()
            curves = written if SHARED in written else {}
        self.fsc.setVisible(bool(curves))
        self.fsc.show_curves(curves)
        reached = self._over(lambda done: done.resolution_halves)
        self.halves.setVisible(bool(reached))
        self.halves.set_curve("halves", *_columns(reached))

    def _draw_gain(self) -> None:
        gain = self._over(lambda done: done.held_out_gain)
        self.gain.setVisible(bool(gain))
        self.gain.set_curve("gain", *_columns(gain))
        self.gain.set_curve("needed", *_columns(self._over(_needed)))

    def _last_encoding(self) -> EpochDone | None:
        """Return the last epoch of auto-encoding, also where the run has gone on from it."""
        encoding = (epoch for epoch, done in self._epochs.items() if done.inference.has_heads)
        last = max(encoding, default=None)
        return None if last is None else self._epochs[last]

    def _draw_batches(self) -> None:
        self.loss.set_curve("batch", *_columns(self._batches))

    def _over(self, figure: Callable[[EpochDone], float | None]) -> list[tuple[float, float]]:
        """Return (end of the epoch, figure) where the figure is known."""
        values = ((done.end, figure(done)) for done in self._epochs.values())
        return [(epoch, value) for epoch, value in values if value is not None]


def _needed(done: EpochDone) -> float | None:
    return None if done.switch is None else done.switch.threshold


def _class_percent(number: int, done: EpochDone) -> float | None:
    return 100 * done.class_share[number] if number < len(done.class_share) else None


def _switch_percent(figure: str, done: EpochDone) -> float | None:
    return None if done.switch is None else 100 * float(getattr(done.switch, figure))


def _heads_percent(figure: str, done: EpochDone) -> float | None:
    heads = None if done.switch is None else done.switch.heads
    return None if heads is None else 100 * float(getattr(heads, figure))


def _columns(rows: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [row[0] for row in rows], [row[1] for row in rows]
