"""The form in which an experiment is designed: what its lists are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, Signal, Slot
from qtpy.QtWidgets import (
    QCompleter,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_cryospin.engine.data.simulated_names import TABLE, TRUE_MAP, TRUE_TABLE
from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.experiments.cells import cells_of
from napari_cryospin.engine.experiments.estimate import plan_sentence
from napari_cryospin.engine.experiments.plan import Experiment, values_of
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.flags import flags
from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.runfolder.protected import require_not_in_use
from napari_cryospin.gui.work.saving import ask_where

if TYPE_CHECKING:
    from napari_cryospin.gui.work.session import Session

_FILTER = "Particles (*.star *.cs *.mrcs *.mrc *.st);;All files (*)"
_PLANS = "Experiments (*.toml)"
# the cells are counted once nobody types any more
_TYPING_MS = 400
_LINES = 4
_NO_STACK = "Name a particle stack: the one in the Data tab, or others."


class Designer(QWidget):
    """Fields for the lists of an experiment, and a sentence on how many cells they make.

    Parameters
    ----------
    session
        Its stack is offered, and the pace of its run is taken for the estimate.

    Attributes
    ----------
    message
        Emitted with a sentence for the user.
    """

    message = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        # the truth of a stack that was told with it, in a file or by a run
        self._truth: dict[Path, tuple[Path | None, Path | None]] = {}
        self._build()
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(self.count)
        for line in (self.presets, self.seeds, self.switches):
            line.textChanged.connect(self._typing.start)
        for text in (self.stacks, self.further):
            text.textChanged.connect(self._typing.start)
        session.table_changed.connect(self._on_table)
        session.run_opened.connect(self._on_run)
        session.epoch_done.connect(self._on_epoch)
        if session.table is not None:
            self._on_table(session.table)
        self.count()

    def _build(self) -> None:
        self.stacks = _lines("stacks", TABLE, 2)
        self.stacks.setToolTip("Particle tables or stacks, one a line")
        self.presets = _line("presets", "default", f"One or several of {', '.join(PRESETS)}")
        self.seeds = _line("seeds", "0, 1, 2", "Random seeds, parted by commas")
        self.switches = _line(
            "switches",
            "1, 3, 5, auto, never",
            "Epochs of auto-encoding before the switch; auto: by its criterion; never: no switch. "
            "Empty: as the preset says",
        )
        self.presets.setText("default")
        self.seeds.setText("0")
        self.further = _lines("further", "model.heads = 4, 7", _LINES)
        self.further.setToolTip(
            "Further settings, one a line, by their names in settings.toml, with one value or "
            f"several: {', '.join(list(flags())[:6])} …"
        )
        self.setting = _line("setting", "add a setting …", "Settings by name: Enter adds one")
        completer = QCompleter(sorted({"model.heads", *flags()}), self.setting)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setting.setCompleter(completer)
        self.setting.returnPressed.connect(self._on_setting)
        self.said = QLabel()
        self.said.setObjectName("experiment_said")
        self.said.setWordWrap(True)
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        rows = (
            ("Stacks", self.stacks),
            ("Presets", self.presets),
            ("Seeds", self.seeds),
            ("Switch at", self.switches),
            ("Settings", self.further),
            ("", self.setting),
        )
        for row, (name, widget) in enumerate(rows):
            label = QLabel(name)
            label.setAlignment(Qt.AlignmentFlag.AlignTop)
            grid.addWidget(label, row, 0)
            grid.addWidget(widget, row, 1)
        grid.setColumnStretch(1, 1)
        self.browse = _button("Add stack…", "browse", "Choose particle tables or stacks")
        self.load = _button("Load…", "load", "Read a plan (.toml)")
        self.save = _button(
            "Save…", "save", "Write the plan, for: napari-cryospin experiment FILE.toml --out DIR"
        )
        self.browse.clicked.connect(self._on_browse)
        self.load.clicked.connect(self._on_load)
        self.save.clicked.connect(self._on_save)
        buttons = QHBoxLayout()
        for button in (self.browse, self.load, self.save):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(grid)
        layout.addLayout(buttons)
        layout.addWidget(self.said)

    def experiment(self) -> Experiment:
        """Return the experiment that the form says.

        Raises
        ------
        InputError
            If it is none.
        """
        stacks = [Path(line) for line in _filled(self.stacks)]
        if not stacks:
            raise InputError(_NO_STACK)
        for stack in stacks:
            if not stack.is_file():
                raise InputError(f"{stack} cannot be read: there is no such file.")
        truths = [self._truth.get(stack, (None, None)) for stack in stacks]
        return Experiment.of(
            stack=stacks,
            preset=values_of(self.presets.text()) or ["default"],
            seed=values_of(self.seeds.text()) or [0],
            switch_at=values_of(self.switches.text()),
            settings=self._settings(),
            **{
                name: [truth[place] for truth in truths]
                for place, name in enumerate(("truth_star", "truth_map"))
                if all(truth[place] is not None for truth in truths)
            },
        ).beside(Path.cwd())

    def show_experiment(self, experiment: Experiment) -> None:
        """Show an experiment in the form."""
        for place, stack in enumerate(experiment.stack):
            known = [
                paths[place] if paths else None
                for paths in (experiment.truth_star, experiment.truth_map)
            ]
            self._truth[stack] = known[0], known[1]
        self.stacks.setPlainText("\n".join(map(str, experiment.stack)))
        self.presets.setText(_listed(experiment.preset))
        self.seeds.setText(_listed(experiment.seed))
        self.switches.setText(_listed(experiment.switch_at))
        self.further.setPlainText(
            "\n".join(f"{name} = {_listed(each)}" for name, each in experiment.settings.items())
        )
        self.count()

    def open(self, path: Path) -> None:
        """Read a plan into the form."""
        try:
            self.show_experiment(Experiment.from_toml(path))
        except InputError as error:
            self.message.emit(str(error))
        else:
            self.message.emit(f"Read {path}.")

    def write(self, path: Path) -> None:
        """Write the plan."""
        try:
            text = self.experiment().to_toml()
            require_not_in_use(path)
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except InputError as error:
            self.message.emit(str(error))
        except OSError as error:
            self.message.emit(f"{path} could not be written: {error.strerror}.")
        else:
            self.message.emit(
                f"Saved {path}: a terminal runs it by napari-cryospin experiment {path} --out DIR."
            )

    @Slot()
    def count(self) -> None:
        """Say how many cells the experiment has, how much work they are, or what is wrong."""
        try:
            cells = cells_of(self.experiment())
            words = plan_sentence(cells, self._session.history)
            truth = "" if cells[0].settings.data.truth_star else " No true poses are known."
            self.said.setText(f"<b>{words}</b>{truth}")
        except InputError as error:
            self.said.setText(str(error))

    def _settings(self) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for line in _filled(self.further):
            name, sign, values = line.partition("=")
            if not sign or not values.strip():
                raise InputError(f"'{line}' is no setting: write a name, =, and its values.")
            if name.strip() in found:
                raise InputError(f"The setting {name.strip()} is named twice.")
            found[name.strip()] = values_of(values)
        return found

    @Slot()
    def _on_setting(self) -> None:
        name = self.setting.text().strip()
        if not name:
            return
        lines = _filled(self.further)
        value = next((text for text in [_shown_default(name)] if text), "")
        self.further.setPlainText("\n".join([*lines, f"{name} = {value}"]))
        self.setting.clear()
        self.further.setFocus()
        self.further.moveCursor(self.further.textCursor().MoveOperation.End)

    @Slot()
    def _on_browse(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Choose particle stacks", "", _FILTER)
        for name in names:
            self.add_stack(Path(name))

    def add_stack(self, path: Path) -> None:
        """Name one more stack; the truth that a simulation wrote beside it goes with it."""
        if str(path) in _filled(self.stacks):
            return
        self._find_truth(path)
        self.stacks.setPlainText("\n".join([*_filled(self.stacks), str(path)]))

    def _find_truth(self, stack: Path) -> None:
        """Take the truth that the shown run knows of a stack, or that was simulated with it."""
        settings = self._session.settings
        if settings is not None and settings.data.stack == stack and settings.data.truth_star:
            self._truth[stack] = settings.data.truth_star, settings.data.truth_map
        elif stack not in self._truth and (stack.parent / TRUE_TABLE).is_file():
            volume = stack.parent / TRUE_MAP
            self._truth[stack] = stack.parent / TRUE_TABLE, volume if volume.is_file() else None

    @Slot(object)
    def _on_table(self, table: Any) -> None:
        # what was typed is left alone
        if not _filled(self.stacks):
            self.add_stack(table.source)

    @Slot(object)
    def _on_run(self, _seen: object) -> None:
        settings = self._session.settings
        if settings is not None and settings.data.stack is not None:
            self._find_truth(settings.data.stack)
        self.count()

    @Slot(object)
    def _on_epoch(self, _done: object) -> None:
        if self.isVisible():
            self._typing.start()

    @Slot()
    def _on_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Choose a plan", "", _PLANS)
        if name:
            self.open(Path(name))

    @Slot()
    def _on_save(self) -> None:
        path = ask_where(self, "Save the plan", "experiment.toml", _PLANS)
        if path is not None:
            self.write(path)


def _shown_default(name: str) -> str:
    """Return the present value of a setting by default, as a start; empty where it has none."""
    from napari_cryospin.engine.settings import Settings

    for preset in PRESETS:
        settings = Settings.from_preset(preset)
        if settings.knows(name):
            try:
                value = settings.get(name)
            except (InputError, AttributeError):
                continue
            return "" if value is None else _listed([value])
    return ""


def _listed(values: list[Any]) -> str:
    shown = (str(each).lower() if isinstance(each, bool) else str(each) for each in values)
    return ", ".join(shown)


def _filled(text: QPlainTextEdit) -> list[str]:
    """Return the lines of a field that are not empty."""
    return [line.strip() for line in text.toPlainText().splitlines() if line.strip()]


def _line(name: str, placeholder: str, tip: str) -> QLineEdit:
    line = QLineEdit()
    line.setObjectName(f"experiment_{name}")
    line.setPlaceholderText(placeholder)
    line.setToolTip(tip)
    return line


def _lines(name: str, placeholder: str, lines: int) -> QPlainTextEdit:
    text = QPlainTextEdit()
    text.setObjectName(f"experiment_{name}")
    text.setPlaceholderText(placeholder)
    text.setTabChangesFocus(True)
    text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    # napari's theme draws neither a frame nor a ground
    text.setStyleSheet("QPlainTextEdit { border: 1px solid rgba(128, 128, 128, 130); }")
    text.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    text.setFixedHeight(lines * text.fontMetrics().lineSpacing() + 14)
    return text


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(f"experiment_{name}")
    button.setToolTip(tip)
    return button
