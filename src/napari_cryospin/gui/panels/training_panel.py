"""The Training tab: every setting of a run, from a preset, as a form."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.types import FileDialogMode
from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FileEdit,
    FloatSpinBox,
    SpinBox,
)
from pydantic import ValidationError
from qtpy.QtCore import Slot
from qtpy.QtWidgets import QGroupBox, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.settings import Settings, first_problem
from napari_cryospin.engine.stages import encodes
from napari_cryospin.gui.panels.stages_editor import StagesEditor
from napari_cryospin.gui.views.scrolling import scrolling_layout, wheel_needs_focus
from napari_cryospin.gui.work.states import ACTIVE, SessionState

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

    AnyWidget = ValueWidget[Any]

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.gui.work.session import Session

DEFAULT_PRESET = "default"
_LOCKED = (
    "<b>A run is under way: these are its settings.</b> They can be changed once it has ended."
)


@dataclass(frozen=True, eq=False)
class Field:
    """A setting in the form: its place in Settings, its label, and what its widget needs.

    Where ``optional``, 0 stands for None.
    """

    where: str
    label: str
    widget: type[AnyWidget]
    options: dict[str, Any]
    optional: bool = False

    def get(self, settings: Settings) -> Any:
        """Return the value of the setting, for the widget."""
        value = settings.get(self.where)
        return 0 if value is None else value

    def set(self, settings: Settings, value: Any) -> None:
        """Set the setting from the widget's value."""
        settings.set(self.where, None if self.optional and value == 0 else value)

    def tip(self) -> str:
        """Return the description of the setting."""
        *path, name = self.where.split(".")
        model: Any = Settings
        for part in path:
            model = model.model_fields[part].annotation
        return str(model.model_fields[name].description)


def _integer(where: str, label: str, low: int, high: int, optional: bool = False) -> Field:
    return Field(where, label, SpinBox, {"min": low, "max": high}, optional)


def _number(where: str, label: str, high: float, step: float, optional: bool = False) -> Field:
    return Field(where, label, FloatSpinBox, {"min": 0.0, "max": high, "step": step}, optional)


def _choice(where: str, label: str, *choices: Any) -> Field:
    return Field(where, label, ComboBox, {"choices": choices})


_BASIC = (
    Field("data.box", "Working box (px)", SpinBox, {"min": 32, "max": 512, "step": 16}),
    _integer("model.heads", "Heads", 1, 64),
    Field("model.shifts", "Estimate shifts", CheckBox, {"text": ""}),
    _choice("device", "Device", "auto", "cpu", "cuda"),
    _integer("seed", "Seed", 0, 2**31 - 1),
    _integer("starts", "Starts of the first stage", 1, 20),
)
_ADVANCED = (
    _integer("data.max_particles", "Particles to use (0: all)", 0, 10**8, True),
    _choice("data.contrast", "Particles on disk", "as table", "white", "black"),
    _number("data.mask_diameter", "Mask diameter (Å, 0: box)", 1e5, 10.0, True),
    _integer("model.encoder_width", "Encoder width (0: by box)", 0, 256, True),
    _choice("model.loss", "Loss", "squared", "absolute"),
    Field("model.scales", "Estimate scales", CheckBox, {"text": ""}),
    _number("held_out", "Share held out", 0.5, 0.01),
    _integer("threads", "CPU threads (0: all but one)", 0, 1024, True),
)


def spare_threads() -> int:
    """Return the number of CPU threads that leaves one core for the window."""
    return max(1, (os.cpu_count() or 2) - 1)


def _make_room(widget: Any, value: Any) -> None:
    """Let a widget show a value that a settings file may hold, such as the device cuda:1."""
    if isinstance(widget, ComboBox) and value not in widget.choices:
        widget.choices = (*widget.choices, value)
    elif isinstance(widget, (SpinBox, FloatSpinBox)):
        widget.min, widget.max = min(widget.min, value), max(widget.max, value)


_OF_ONE_STACK = (
    "truth_star",
    "truth_map",
    "datadir",
    "pixel_size",
    "voltage",
    "spherical_aberration",
    "amplitude_contrast",
)


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
        session.run_started.connect(self._show_run)
        session.state_changed.connect(self._on_state)
        self._on_state(session.state)

    def settings(
        self, stack: Path, passthrough: Path | None, datadir: Path | None = None
    ) -> Settings:
        """Return the form's settings for a particle stack.

        Parameters
        ----------
        stack, passthrough
            The particle table, and cryoSPARC's passthrough file.
        datadir
            Folder to look for images in first; by default that of the run that was opened.

        Raises
        ------
        InputError
            If a value cannot be used.
        """
        settings = self._template.model_copy(deep=True)
        try:
            for field, widget in self._widgets.items():
                field.set(settings, widget.value)
            settings.threads = settings.threads or spare_threads()
            settings.stages = self.stages.stages
            settings.preset = self.preset.value
            if settings.data.stack != stack:
                # the truth belongs to one stack, and so does what was said of it
                for name in _OF_ONE_STACK:
                    setattr(settings.data, name, None)
            settings.data.stack, settings.data.passthrough = stack, passthrough
            settings.data.datadir = datadir or settings.data.datadir
        except ValidationError as error:
            raise InputError(first_problem(error)) from error
        return settings

    @property
    def folder(self) -> Path:
        """The folder that the next run will make; InputError where none is named."""
        if not self.run_folder.line_edit.value.strip():
            raise InputError("No run folder was named: name one in the Training tab.")
        return Path(str(self.run_folder.value))

    def show_settings(self, settings: Settings) -> None:
        """Fill the form."""
        self._template = settings.model_copy(deep=True)
        if settings.preset in PRESETS:
            with self.preset.changed.blocked():
                self.preset.value = settings.preset
        for field, widget in self._widgets.items():
            _make_room(widget, field.get(settings))
            widget.value = field.get(settings)
        self.stages.show_stages(settings.stages)
        self._on_stages()

    def suggest_folder(self) -> None:
        """Name a new run folder beside the particles."""
        table = self._session.table
        beside = Path.cwd() if table is None else table.source.parent
        self.run_folder.value = beside / f"cryospin-{datetime.now():%Y%m%d-%H%M%S}"

    def _build(self) -> None:
        self._widgets: dict[Field, AnyWidget] = {}
        self.preset = ComboBox(
            label="Preset",
            name="preset",
            choices=list(PRESETS),
            tooltip="Fills the form; paper-… are the published settings, for a GPU.",
        )
        wheel_needs_focus(self.preset.native)
        self.preset.changed.connect(self._on_preset)
        self.run_folder = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY,
            label="Run folder",
            name="run_folder",
            tooltip="A new folder for this run.",
        )
        basic = [self._widget(field) for field in _BASIC]
        form = Container(widgets=[self.preset, *basic, self.run_folder])
        self.stages = StagesEditor()
        self.stages.changed.connect(self._on_stages)
        box = QGroupBox("Stages")
        QVBoxLayout(box).addWidget(self.stages)
        advanced = Container(widgets=[self._widget(field) for field in _ADVANCED])
        self.advanced = QCollapsible("Advanced settings")
        self.advanced.addWidget(advanced.native)
        inside = self.advanced.layout()
        assert inside is not None
        inside.setContentsMargins(0, 0, 0, 0)
        column = scrolling_layout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.locked = QLabel(_LOCKED)
        self.locked.setObjectName("training_locked")
        self.locked.setWordWrap(True)
        self.locked.setMargin(6)
        self._form = (form.native, box, self.advanced)
        for widget in (self.locked, *self._form):
            column.addWidget(widget)
        column.addStretch()
        self.suggest_folder()

    def _widget(self, field: Field) -> AnyWidget:
        widget = field.widget(
            label=field.label,
            name=field.where.replace(".", "_"),
            tooltip=field.tip(),
            **field.options,
        )
        widget.native.setObjectName(field.where)
        wheel_needs_focus(widget.native)
        self._widgets[field] = widget
        return widget

    def _on_preset(self, name: str) -> None:
        kept = self._template.data
        settings = Settings.from_preset(name)
        settings.data.truth_star, settings.data.truth_map = kept.truth_star, kept.truth_map
        settings.data.stack = kept.stack
        self.show_settings(settings)

    @Slot()
    def _on_stages(self) -> None:
        """Only an encoder has heads."""
        enabled = encodes(self.stages.stages)
        for field, widget in self._widgets.items():
            if field.where in ("model.heads", "model.encoder_width"):
                widget.enabled = enabled

    @Slot(object)
    def _on_table(self, _table: ParticleTable) -> None:
        if not self._session.active:
            self.suggest_folder()

    @Slot(object)
    def _on_state(self, state: SessionState) -> None:
        """Lock the form while a run is under way, which would hear of no change."""
        active = state in ACTIVE
        self.locked.setVisible(active)
        for widget in self._form:
            widget.setEnabled(not active)
        if state is SessionState.LOADING:
            self._show_run()

    @Slot()
    @Slot(object)
    def _show_run(self, _event: object = None) -> None:
        """Show the settings and the folder of the run that is under way."""
        settings, folder = self._session.settings, self._session.folder
        if settings is not None and folder is not None:
            self.show_settings(settings)
            self.run_folder.value = folder

    @Slot(object)
    def _on_run_opened(self, snapshot: Any) -> None:
        self.show_settings(snapshot.settings)
