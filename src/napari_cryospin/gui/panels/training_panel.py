"""The Training tab: every setting of a run, from a preset, as a form."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, Container, FileEdit
from pydantic import ValidationError
from qtpy.QtCore import Slot
from qtpy.QtWidgets import QGroupBox, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.presets import PRESETS
from napari_cryospin.engine.setting_fields import setting_field
from napari_cryospin.engine.settings import Settings, first_problem
from napari_cryospin.gui.panels.setting_widgets import SettingWidget
from napari_cryospin.gui.panels.stages_editor import StagesEditor
from napari_cryospin.gui.views.scrolling import scrolling_layout, wheel_needs_focus
from napari_cryospin.gui.work.states import ACTIVE, SessionState

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

    AnyWidget = ValueWidget[Any]

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.engine.setting_fields import SettingField
    from napari_cryospin.gui.work.session import Session

DEFAULT_PRESET = "default"
_LOCKED = (
    "<b>A run is under way: these are its settings.</b> They can be changed once it has ended."
)


_BASIC = (
    "data.box",
    "model.heads",
    "model.shifts",
    "model.symmetry",
    "model.classes",
    "device",
    "seed",
    "starts",
)
_ADVANCED = (
    "warm_start",
    "data.max_particles",
    "data.particles_in",
    "data.contrast",
    "data.mask_diameter",
    "model.encoder_width",
    "model.loss",
    "model.scales",
    "model.outliers",
    "model.halves",
    "held_out",
    "branch_points",
    "threads",
)


def spare_threads() -> int:
    """Return the number of CPU threads that leaves one core for the window."""
    return max(1, (os.cpu_count() or 2) - 1)


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
            for field, shown in self._widgets.items():
                settings.set(field.where, shown.value)
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
        for field, shown in self._widgets.items():
            shown.value = settings.get(field.where)
        self.stages.show_stages(settings.stages)
        self._on_stages()

    def suggest_folder(self) -> None:
        """Name a new run folder beside the particles."""
        table = self._session.table
        beside = Path.cwd() if table is None else table.source.parent
        self.run_folder.value = beside / f"cryospin-{datetime.now():%Y%m%d-%H%M%S}"

    def _build(self) -> None:
        self._widgets: dict[SettingField, SettingWidget] = {}
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
        basic = [self._widget(where) for where in _BASIC]
        form = Container(widgets=[self.preset, *basic, self.run_folder])
        self.stages = StagesEditor()
        self.stages.changed.connect(self._on_stages)
        box = QGroupBox("Stages")
        QVBoxLayout(box).addWidget(self.stages)
        advanced = Container(widgets=[self._widget(where) for where in _ADVANCED])
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

    def _widget(self, where: str) -> AnyWidget:
        field = setting_field(where)
        value = self._template.get(where)
        shown = SettingWidget(field, where.replace(".", "_"), where, value)
        self._widgets[field] = shown
        return shown.widget

    def _on_preset(self, name: str) -> None:
        kept = self._template.data
        settings = Settings.from_preset(name)
        settings.data.truth_star, settings.data.truth_map = kept.truth_star, kept.truth_map
        settings.data.stack = kept.stack
        self.show_settings(settings)

    @Slot()
    def _on_stages(self) -> None:
        """Close the fields that no stage heeds: only an encoder has heads."""
        asked = Settings(stages=self.stages.stages)
        for field, shown in self._widgets.items():
            shown.widget.enabled = asked.knows(field.where)

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
