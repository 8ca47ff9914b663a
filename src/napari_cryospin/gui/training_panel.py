"""The Training tab: every setting of a run, from a preset, as a form."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, FileEdit, SpinBox
from pydantic import ValidationError
from qtpy.QtCore import Slot
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import PRESETS, Settings, first_problem
from napari_cryospin.gui.training_fields import ADVANCED, BASIC, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.gui.session import Session
    from napari_cryospin.gui.training_fields import AnyWidget

DEFAULT_PRESET = "cpu"
BY_HAND, AT_EPOCH = "by hand", "at epoch"


def spare_threads() -> int:
    """Return the number of CPU threads that leaves one core for the window."""
    return max(1, (os.cpu_count() or 2) - 1)


class TrainingPanel(QWidget):
    """A form of all settings; :meth:`settings` returns what it says.

    Parameters
    ----------
    session
        Its particle table suggests the run folder.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._template = Settings.from_preset(DEFAULT_PRESET)
        self._build()
        self.show_settings(self._template)
        session.table_changed.connect(self._on_table)
        session.run_opened.connect(self._on_run_opened)

    def settings(self, stack: Path | None, passthrough: Path | None) -> Settings:
        """Return the form's settings for a particle stack.

        Raises
        ------
        InputError
            If a value cannot be used.
        """
        if stack is None:
            raise InputError("No particles were chosen: choose a file in the Data tab.")
        settings = self._template.model_copy(deep=True)
        for field, widget in self._widgets.items():
            try:
                field.take(settings, widget)
            except ValidationError as error:
                raise InputError(f"{field.label}: {first_problem(error)}") from error
        settings.threads = settings.threads or spare_threads()
        by_hand = self.switch_mode.value == BY_HAND
        settings.switch_at = "never" if by_hand else self.switch_epoch.value
        settings.preset = self.preset.value
        if settings.data.stack != stack:
            # the truth belongs to one stack
            settings.data.truth_star = settings.data.truth_map = None
        settings.data.stack, settings.data.passthrough = stack, passthrough
        return settings

    @property
    def folder(self) -> Path:
        """The folder that the form names."""
        return Path(str(self.run_folder.value))

    def new_folder(self) -> Path:
        """Return the folder for a new run, and show it.

        It is the one that the form names. Where that is in use already, it is a new one: beside a
        run, inside any other folder.
        """
        named = self.folder
        if (named / "settings.toml").exists():
            self.run_folder.value = named.parent / new_name()
        elif named.is_dir() and any(named.glob("*")):
            self.run_folder.value = named / new_name()
        return self.folder

    def show_settings(self, settings: Settings) -> None:
        """Fill the form."""
        self._template = settings.model_copy(deep=True)
        if settings.preset in PRESETS:
            with self.preset.changed.blocked():
                self.preset.value = settings.preset
        for field, widget in self._widgets.items():
            field.show(settings, widget)
        by_hand = settings.switch_at == "never"
        self.switch_mode.value = BY_HAND if by_hand else AT_EPOCH
        planned = settings.switch_at
        self.switch_epoch.value = planned if isinstance(planned, int) else settings.encode.epochs

    def suggest_folder(self) -> None:
        """Name a new run folder beside the particles."""
        table = self._session.table
        beside = Path.cwd() if table is None else table.source.parent
        self.run_folder.value = beside / new_name()

    def _build(self) -> None:
        self._widgets: dict[Field, AnyWidget] = {
            field: field.make() for field in (*BASIC, *ADVANCED)
        }
        self.preset = ComboBox(
            name="preset",
            choices=list(PRESETS),
            tooltip="Fills the form; paper-… are the published settings, for a GPU.",
        )
        self.preset.changed.connect(self._on_preset)
        self.run_folder = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY,
            name="run_folder",
            tooltip="A new folder for this run; in a folder that holds files, one is made.",
        )
        self.run_folder.choose_btn.text = "Browse…"
        self._by_where("encode.epochs").changed.connect(self._on_encode_epochs)
        self.advanced = QCollapsible("Advanced settings")
        self.advanced.addWidget(_form(self._rows(ADVANCED)))
        basic = self._rows(BASIC)
        basic.insert(0, ("Preset", self.preset.native))
        basic.insert(5, ("Switch to auto-decoding", self._switch()))
        basic.append(("Run folder", self.run_folder.native))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(_form(basic))
        layout.addWidget(self.advanced)
        layout.addStretch()
        self.suggest_folder()

    def _switch(self) -> QWidget:
        self.switch_mode = ComboBox(
            name="switch_mode",
            choices=[AT_EPOCH, BY_HAND],
            tooltip="By schedule at an epoch, or when you press the button.",
        )
        self.switch_epoch = SpinBox(
            name="switch_epoch", max=2**31 - 1, tooltip="Epoch of the switch."
        )
        self.switch_mode.changed.connect(self._on_switch_mode)
        both = QWidget()
        row = QHBoxLayout(both)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.switch_mode.native)
        row.addWidget(self.switch_epoch.native, 1)
        return both

    def _rows(self, fields: Iterable[Field]) -> list[tuple[str, QWidget]]:
        return [(field.label, self._widgets[field].native) for field in fields]

    def _by_where(self, where: str) -> AnyWidget:
        return next(widget for field, widget in self._widgets.items() if field.where == where)

    def _on_preset(self, name: str) -> None:
        kept = self._template.data
        settings = Settings.from_preset(name)
        settings.data.truth_star, settings.data.truth_map = kept.truth_star, kept.truth_map
        settings.data.stack = kept.stack
        self.show_settings(settings)

    def _on_switch_mode(self, mode: str) -> None:
        self.switch_epoch.enabled = mode == AT_EPOCH

    def _on_encode_epochs(self, epochs: int) -> None:
        self.switch_epoch.value = epochs

    @Slot(object)
    def _on_table(self, table: ParticleTable | None) -> None:
        if table is not None and not self._session.active:
            self.suggest_folder()

    @Slot(object)
    def _on_run_opened(self, snapshot: Any) -> None:
        self.show_settings(snapshot.settings)


def new_name() -> str:
    """Return a name for a new run folder: the time."""
    return f"cryospin-{datetime.now():%Y%m%d-%H%M%S}"


def _form(rows: Iterable[tuple[str, QWidget]]) -> QWidget:
    """Return labels and widgets in two columns; a label has its widget's tooltip."""
    form = QWidget()
    layout = QFormLayout(form)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(4)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for text, widget in rows:
        label = QLabel(text)
        label.setToolTip(widget.toolTip())
        layout.addRow(label, widget)
    return form
