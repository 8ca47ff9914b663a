"""The dialog that asks what a branch is to do otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal, Slot
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.engine.setting_fields import field_of, setting_field
from napari_cryospin.gui.work.brancher import Wish

if TYPE_CHECKING:
    from napari_cryospin.engine.events import EpochDone
    from napari_cryospin.engine.settings import Settings
    from napari_cryospin.engine.stages import Stage

_AS_BEFORE, _NOW, _AFTER, _AUTO, _NEVER, _BACK = "", "now", "K", "auto", "never", "back"
_RATE = "learning_rate"


class BranchDialog(QDialog):
    """Asks for one branch; :attr:`wished` carries it.

    Parameters
    ----------
    run
        Folder of the run.
    at
        Epochs that both runs have in common.
    settings
        Settings of the run.
    history
        Its epochs, in order; they say which stage the branch begins in.
    active
        Whether a run is under way, for whose end the branch would wait.
    """

    wished = Signal(object)

    def __init__(
        self,
        run: Path,
        at: int,
        settings: Settings,
        history: list[EpochDone],
        *,
        active: bool,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._run, self._at, self._settings, self._active = run, at, settings, active
        before = [done for done in history if done.epoch < at]
        last = before[-1] if before else None
        self._stage = min(0 if last is None else last.stage, len(settings.stages) - 1)
        self._encoded = any(done.inference.has_heads for done in before)
        same = [d for d in before if last and (d.stage, d.start) == (last.stage, last.start)]
        self._first = at - len(same)
        self.setWindowTitle(f"Branch from epoch {at}")
        self.setObjectName("branch_dialog")
        self._build()

    @property
    def present(self) -> Stage:
        """Settings of the stage that the branch begins in."""
        stage: Stage = self._settings.stages[self._stage]
        return stage

    def wish(self) -> Wish:
        """Return what the form says."""
        switch = self.switch.currentData()
        at: Any = switch if switch in (_NOW, _AUTO, _NEVER) else None
        if switch == _AFTER:
            at = self.epoch.value() - self._first
        return Wish(
            run=self._run,
            at=self._at,
            out=Path(self.folder.text().strip()),
            switch_at=at,
            changes=self._changes(),
            switch_back=switch == _BACK,
            starts=self.starts.isChecked(),
        )

    def _changes(self) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        for where, field in self.rates.items():
            if field.text().strip() != self._rate(where):
                changes[where] = _number(field.text().strip())
        for where, spin in (("model.heads", self.heads), ("seed", self.seed)):
            if spin.isEnabled() and spin.value() != self._settings.get(where):
                changes[where] = spin.value()
        return changes

    def _rate(self, where: str) -> str:
        return f"{self._settings.get(where):g}"

    def _build(self) -> None:
        inference = self.present.inference.label
        text = QLabel(
            f"“{self._run.name}” up to epoch {self._at} ({inference}), and what you change from "
            "there on, in a run of its own. This one stays as it is."
        )
        text.setWordWrap(True)
        form = QFormLayout()
        form.addRow("Then", self._switch_row())
        self.rates = {}
        for where, title in self._rates():
            self.rates[where] = QLineEdit(self._rate(where))
            self.rates[where].setObjectName(where)
            form.addRow(title, self.rates[where])
        self.heads, self.seed = self._number("model.heads"), self._number("seed")
        form.addRow("Heads", self.heads)
        self.heads.setToolTip("Another number: a new encoder begins, on the present map and poses")
        form.addRow("Seed", self.seed)
        self.seed.setToolTip("Of all that is drawn at random from there on")
        self.folder = QLineEdit(str(free_folder(self._run, self._at)))
        self.folder.setObjectName("branch_folder")
        choose = QPushButton("…")
        choose.clicked.connect(self._on_choose)
        row = QHBoxLayout()
        row.addWidget(self.folder, 1)
        row.addWidget(choose)
        form.addRow("Run folder", row)
        words = "Run it when the run under way has ended" if self._active else "Run it now"
        self.starts = QCheckBox(words)
        self.starts.setChecked(True)
        self.starts.setObjectName("branch_starts")
        buttons = QDialogButtonBox()
        make = buttons.addButton("Make branch", QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        assert make is not None
        self.make = make
        buttons.accepted.connect(self._on_accepted)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(text)
        layout.addLayout(form)
        layout.addWidget(self.starts)
        layout.addWidget(buttons)
        self._on_switch()

    def _switch_row(self) -> QHBoxLayout:
        self.switch = QComboBox()
        self.switch.setObjectName("branch_switch")
        self.switch.addItem("as the run does", _AS_BEFORE)
        stages, number = self._settings.stages, self._stage
        if self.present.inference.has_heads:
            if number + 1 < len(stages):
                then = stages[number + 1].inference.label
                self.switch.addItem(f"switch to {then} here", _NOW)
                self.switch.addItem(f"switch to {then} after epoch", _AFTER)
                self.switch.addItem(f"switch to {then} by the criterion", _AUTO)
            self.switch.addItem("never switch", _NEVER)
        elif self._encoded:
            self.switch.addItem("switch back to auto-encoding, then again", _BACK)
        self.epoch = QSpinBox()
        self.epoch.setRange(self._at, 10**6)
        self.epoch.setValue(self._at + 1)
        self.epoch.setObjectName("branch_epoch")
        self.switch.currentIndexChanged.connect(self._on_switch)
        row = QHBoxLayout()
        row.addWidget(self.switch, 1)
        row.addWidget(self.epoch)
        return row

    def _rates(self) -> list[tuple[str, str]]:
        """Return the learning rates of the present stage: dotted names, and titles."""
        stage = self.present
        return [
            (f"stages.{self._stage}.{name}", field_of(type(stage), name).title)
            for name in type(stage).model_fields
            if name.startswith(_RATE) and name not in stage.idle
        ]

    def _number(self, where: str) -> QSpinBox:
        field, spin = setting_field(where), QSpinBox()
        assert field.low is not None and field.high is not None
        spin.setRange(int(field.low), int(field.high))
        spin.setValue(int(self._settings.get(where)))
        spin.setObjectName(f"branch_{field.where.rpartition('.')[2]}")
        return spin

    @Slot()
    @Slot(int)
    def _on_switch(self, _index: int = 0) -> None:
        switch = self.switch.currentData()
        self.epoch.setVisible(switch == _AFTER)
        to_come = any("heads" in stage.reads for stage in self._settings.stages[self._stage :])
        self.heads.setEnabled(to_come or switch == _BACK)

    @Slot()
    def _on_choose(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "A new, empty folder", str(self._run.parent))
        if name:
            self.folder.setText(name)

    @Slot()
    def _on_accepted(self) -> None:
        if not self.folder.text().strip():
            self.folder.setText(str(free_folder(self._run, self._at)))
            return
        self.wished.emit(self.wish())
        self.accept()


def _number(text: str) -> float | str:
    # what is none is refused by the engine, in words of its own
    try:
        return float(text)
    except ValueError:
        return text


def free_folder(run: Path, at: int) -> Path:
    """Return a name for a branch, beside its run, that nothing has."""
    name, number = f"{run.name}-from-{at}", 2
    folder = run.with_name(name)
    while folder.exists() or folder.is_symlink():
        folder, number = run.with_name(f"{name}-{number}"), number + 1
    return folder
