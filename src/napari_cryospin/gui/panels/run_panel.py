"""The Run box: always at hand, it starts, pauses, switches and stops, and says how far it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal, Slot
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_cryospin.engine.run.pace import TaskPace, duration
from napari_cryospin.engine.runfolder.clock import Clock
from napari_cryospin.gui.views.schedule_button import ScheduleButton
from napari_cryospin.gui.views.still import StillLine
from napari_cryospin.gui.work.questions import ask_discard
from napari_cryospin.gui.work.states import ACTIVE, SessionState

if TYPE_CHECKING:
    from napari_cryospin.engine.events import (
        BatchDone,
        EpochStarted,
        Finished,
        Progress,
        Rescheduled,
        RunStarted,
        Switched,
    )
    from napari_cryospin.engine.runfolder.standing import Standing
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Inference
    from napari_cryospin.gui.work.session import Session

_START = "Start a new run with the present settings"
_HELD = "Experiment under way"
_NEXT_STAGE = "End the present stage now: the next one begins with the present map and poses"
_LAST_STAGE = "This is the last stage"
_NEXT_START = (
    "End this start of the first stage now: the next one begins with another random map, and the "
    "best of all goes on"
)


class RunPanel(QWidget):
    """Buttons and progress of the session's run.

    Parameters
    ----------
    session
        Is told to pause, resume, switch and stop. Starting needs the forms: the dock hears of it by
        :attr:`start_asked`.
    """

    start_asked = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._inference: Inference | None = None
        self._clock = Clock()
        self._pace = TaskPace()
        self._switching = False
        self._build()
        session.state_changed.connect(self._on_state)
        session.run_started.connect(self._on_run_started)
        session.progress.connect(self._on_progress)
        session.epoch_started.connect(self._on_epoch_started)
        session.batch_done.connect(self._on_batch)
        session.switched.connect(self._on_switched)
        session.rescheduled.connect(self._on_rescheduled)
        session.finished.connect(self._on_finished)
        session.message.connect(self._on_message)
        session.run_opened.connect(self._on_opened)
        session.standing_changed.connect(self._on_standing)
        self._on_state(session.state)

    def _build(self) -> None:
        self.start = self._button("Start", "start", _START)
        self.pause = self._button("Pause", "pause", "Let training rest; press again to go on")
        self.switch = self._button("Next stage", "switch", _NEXT_STAGE)
        self.schedule = ScheduleButton(self)
        self.schedule.chosen.connect(self._session.set_switch)
        self.stop = self._button("Stop and keep", "stop", "End the run and write maps and poses")
        self.discard = self._button("Discard", "discard", "End the run and remove what it wrote")
        self.start.clicked.connect(self.start_asked)
        self.pause.clicked.connect(self._on_pause)
        self.switch.clicked.connect(self._on_switch)
        self.stop.clicked.connect(self._on_stop)
        self.discard.clicked.connect(self._on_discard)
        self.state, self.rate, self.device = QElidingLabel(), QElidingLabel(), QLabel()
        bold = self.state.font()
        bold.setBold(True)
        self.state.setFont(bold)
        self.state.setObjectName("run_state")
        self.rate.setObjectName("run_rate")
        self.epochs, self.batches = QProgressBar(), QProgressBar()
        self.epochs.setObjectName("run_epochs")
        self.batches.setObjectName("run_batches")
        self.message = QLabel()
        self.message.setObjectName("run_message")
        # the box keeps its height, whatever they say: two lines each, or four of the message
        said = QWidget()
        below = QVBoxLayout(said)
        below.setContentsMargins(0, 0, 0, 0)
        below.setSpacing(3)
        for label in (self.device, self.message):
            label.setWordWrap(True)
            two_lines = 2 * label.fontMetrics().lineSpacing() + 8
            label.setMaximumHeight(two_lines * (2 if label is self.message else 1))
            label.setMinimumHeight(two_lines)
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
            below.addWidget(label)
        said.setFixedHeight(2 * two_lines + below.spacing())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(3)
        # in rows: the dock may be narrow, and no button's words must be cut off
        first = self.start, self.pause, self.stop, self.discard
        for buttons in (first, (self.switch, self.schedule)):
            row = QHBoxLayout()
            row.setSpacing(4)
            for button in buttons:
                row.addWidget(button, button.sizeHint().width())
            layout.addLayout(row)
        state, rate = StillLine(self.state), StillLine(self.rate)
        for widget in (state, self.epochs, self.batches, rate, said):
            layout.addWidget(widget)
        self._clear()

    def _button(self, text: str, name: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(f"run_{name}")
        button.setToolTip(tip)
        button.setMinimumHeight(button.sizeHint().height())
        return button

    @Slot(object)
    def _on_opened(self, _seen: object) -> None:
        self._clear()
        self._show_stage()

    @Slot(object)
    def _on_standing(self, standing: Standing) -> None:
        self.epochs.setRange(0, max(standing.n_epochs, 1))
        self.epochs.setValue(standing.epochs)
        self.epochs.setFormat(standing.progress)
        self._show_stage()

    def _clear(self) -> None:
        self._inference, self._clock, self._switching = None, Clock(), False
        self.message.setToolTip("")
        for bar in (self.epochs, self.batches):
            bar.setRange(0, 1)
            bar.setValue(0)
        self.epochs.setFormat("no epoch yet")
        self._show_phase("")
        self.device.setText("")
        self.device.hide()

    @Slot()
    def _on_pause(self) -> None:
        if self._session.state is SessionState.PAUSED:
            self._session.resume()
        else:
            self.pause.setText("Pausing…")
            self._session.pause()

    @Slot()
    def _on_switch(self) -> None:
        # said at once: a search of poses, or the judging of a start, goes to its end first
        self._switching = True
        self._show_stage()
        self._session.switch()

    @Slot()
    def _on_stop(self) -> None:
        self._session.stop(keep=True)

    @Slot()
    def _on_discard(self) -> None:
        session = self._session
        epochs = len(session.history)
        if epochs == 0 or ask_discard(self, session.folder, epochs):
            session.stop(keep=False)

    @Slot(object)
    def _on_state(self, state: SessionState) -> None:
        if state is SessionState.LOADING:
            self._clear()
        if state not in ACTIVE:
            self._show_phase("")
        running = state in (SessionState.RUNNING, SessionState.PAUSED)
        self._switching = self._switching and running
        self.show_held()
        self.pause.setEnabled(running)
        self.pause.setText("Resume" if state is SessionState.PAUSED else "Pause")
        self.stop.setEnabled(state in ACTIVE and state is not SessionState.STOPPING)
        self.discard.setEnabled(self.stop.isEnabled())

    @Slot()
    def show_held(self) -> None:
        """Show whether a run may be started, or why not."""
        held = self._session.held
        self.start.setEnabled(self._session.state not in ACTIVE and not held)
        self.start.setToolTip(held or _START)
        self._show_stage()

    def _show_stage(self) -> None:
        state = self._session.state
        shown = _HELD if self._session.held else str(state)
        history = self._session.history
        inference = self._inference
        if state is SessionState.FOLLOWING and history:
            inference = history[-1].inference
        if inference and (state in ACTIVE or state is SessionState.FOLLOWING):
            shown = f"{state} · {inference.label}"
        self.state.setText(shown)
        running = state in (SessionState.RUNNING, SessionState.PAUSED)
        settings = self._session.settings
        text, tip = "Next stage", _NEXT_STAGE
        if settings is not None and running:
            text, tip = _next(settings, self._clock)
        possible = settings is not None and tip != _LAST_STAGE
        self.switch.setEnabled(running and possible and not self._switching)
        self.switch.setText("Switching…" if self._switching else text)
        self.switch.setToolTip(tip)
        self.schedule.allow(self.switch.isEnabled())

    def _show_phase(self, words: str, done: int = 0, total: int = 0, rate: str = "") -> None:
        """Show what is being done, how far it is, and its own rate; a total of 0 is not known."""
        self.batches.setRange(0, max(total, 1))
        self.batches.setValue(done if total else 0)
        self.batches.setFormat(words)
        self.rate.setText(rate)
        self.rate.setToolTip(rate)

    @Slot(object)
    def _on_run_started(self, event: RunStarted) -> None:
        self._inference = event.inference
        self.device.setText(
            f"{event.device} · seed {event.seed}<br>"
            f"{event.n_particles:,} particles of {event.box} px, {event.pixel_size:.3g} Å/px"
        )
        self.device.setToolTip(str(event.folder))
        self.device.show()
        self.epochs.setRange(0, event.n_epochs)
        self.message.setText("")
        self._show_stage()

    @Slot(object)
    def _on_progress(self, event: Progress) -> None:
        words = f"{event.task}: %v of %m" if event.total else f"{event.task} …"
        left = self._pace.seconds_left(event)
        rate = "" if left is None else f"about {duration(left)} left"
        self._show_phase(words, event.done, event.total, rate)

    @Slot(object)
    def _on_epoch_started(self, event: EpochStarted) -> None:
        self._inference = event.inference
        self._clock = Clock(
            event.epoch, stage=event.stage, stage_epoch=event.stage_epoch, start=event.start
        )
        self.epochs.setValue(event.epoch)
        self._show_epoch(event.n_epochs)
        self.schedule.show_epoch(event)
        self._show_phase("first batch …")
        self._show_stage()

    def _show_epoch(self, n_epochs: int) -> None:
        self.epochs.setRange(0, n_epochs)
        self.epochs.setFormat(f"epoch {self._clock.epoch + 1} of ≤ {n_epochs}")

    @Slot(object)
    def _on_rescheduled(self, event: Rescheduled) -> None:
        self._show_epoch(event.n_epochs)
        self.schedule.show_end(event.ends)
        self.message.setText(event.sentence())

    @Slot(object)
    def _on_batch(self, event: BatchDone) -> None:
        left = event.seconds_left
        parts = (
            f"{event.images_per_second:,.0f} images/s",
            "" if left is None else f"this stage: ≤ {duration(left)}",
            f"loss {event.loss:.4g}",
        )
        rate = " · ".join(filter(None, parts))
        self._show_phase("batch %v of %m", event.batch, event.n_batches, rate)

    @Slot(object)
    def _on_switched(self, event: Switched) -> None:
        self._inference = event.inference
        self._clock = Clock(stage=event.stage, start=event.start)
        self._switching = False
        self._show_phase("stage begins …")
        self.message.setText(event.sentence())
        self._show_stage()

    @Slot(object)
    def _on_finished(self, event: Finished) -> None:
        if not event.results:
            shown = self._session.latest_volume is not None and event.discarded
            left = " Its last map and figures are shown until the next run." if shown else ""
            self.message.setText(event.sentence() + left)
            return
        if not event.stopped:
            self.epochs.setValue(self.epochs.maximum())
            self.epochs.setFormat("all epochs done")
        verdict = "" if event.verdict is None else f"<b>{event.verdict.outcome.capitalize()}.</b> "
        self.message.setText(f"{verdict}Map and poses are in {event.folder}.")
        why = () if event.verdict is None else event.verdict.sentences
        told = (*why, event.halves_sentence(), str(event.folder))
        self.message.setToolTip("\n".join(filter(None, told)))

    @Slot(str)
    def _on_message(self, sentence: str) -> None:
        self.message.setText(sentence)
        # two lines may not hold it
        self.message.setToolTip(sentence)


def _next(settings: Settings, clock: Clock) -> tuple[str, str]:
    """Return what comes after the present stage, or start, and what ending it does."""
    if clock.more_starts(settings):
        return f"Next: start {clock.start + 2} of {settings.n_starts}", _NEXT_START
    if clock.last_stage(settings):
        return "Next stage", _LAST_STAGE
    now, then = (settings.stages[clock.stage + more].inference for more in (0, 1))
    words = f"Next: {then.label}" if then is now else f"Switch to {then.label}"
    return words, _NEXT_STAGE
