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
from qtpy.QtWidgets import QWidget
from superqt import QCollapsible

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.settings import PRESETS, Settings, first_problem
from napari_cryospin.gui.views.scrolling import scrolling_layout

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

    AnyWidget = ValueWidget[Any]

    from napari_cryospin.engine.data.table import ParticleTable
    from napari_cryospin.gui.work.session import Session

DEFAULT_PRESET = "cpu"
BY_HAND, AT_EPOCH = "by hand", "at epoch"


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
        value: Any = settings
        for part in self.where.split("."):
            value = getattr(value, part)
        return 0 if value is None else value

    def set(self, settings: Settings, value: Any) -> None:
        """Set the setting from the widget's value."""
        *path, name = self.where.split(".")
        section: Any = settings
        for part in path:
            section = getattr(section, part)
        setattr(section, name, None if self.optional and value == 0 else value)

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
    _integer("encode.epochs", "Auto-encoding epochs", 0, 10_000),
    _integer("decode.epochs", "Auto-decoding epochs", 0, 10_000),
    Field("model.shifts", "Estimate shifts", CheckBox, {"text": ""}),
    _choice("device", "Device", "auto", "cpu", "cuda"),
    _integer("seed", "Seed", 0, 2**31 - 1),
)
_ADVANCED = (
    _integer("data.max_particles", "Particles to use (0: all)", 0, 10**8, True),
    _choice("data.contrast", "Particles on disk", "as table", "white", "black"),
    _number("data.mask_diameter", "Mask diameter (Å, 0: box)", 1e5, 10.0, True),
    _integer("model.encoder_width", "Encoder width (0: by box)", 0, 256, True),
    _choice("model.loss", "Loss", "squared", "absolute"),
    _integer("encode.batch_size", "Batch, auto-encoding", 1, 4096),
    _number("encode.learning_rate_encoder", "Rate of encoder", 1.0, 1e-4),
    _number("encode.learning_rate_volume", "Rate of volume, encoding", 1.0, 1e-3),
    _integer("decode.batch_size", "Batch, auto-decoding", 1, 4096),
    _number("decode.learning_rate_pose", "Rate of poses (rad)", 1.0, 1e-2),
    _number("decode.learning_rate_volume", "Rate of volume, decoding", 1.0, 1e-3),
    _number("decode.final_rate", "Share of rates left at end", 1.0, 0.01),
    _integer("decode.pose_steps", "Pose steps per volume step", 1, 100),
    _integer("search.epochs", "Epochs with pose search", 0, 10_000),
    _integer("search.starts", "Starts of pose search", 1, 20),
    _choice("search.nside", "HEALPix nside of search", 2, 4, 8),
    _integer("threads", "CPU threads (0: all but one)", 0, 1024, True),
)


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
        try:
            for field, widget in self._widgets.items():
                field.set(settings, widget.value)
            settings.threads = settings.threads or spare_threads()
            by_hand = self.switch_mode.value == BY_HAND
            settings.switch_at = "never" if by_hand else self.switch_epoch.value
            settings.preset = self.preset.value
            if settings.data.stack != stack:
                # the truth belongs to one stack
                settings.data.truth_star = settings.data.truth_map = None
            settings.data.stack, settings.data.passthrough = stack, passthrough
        except ValidationError as error:
            raise InputError(first_problem(error)) from error
        return settings

    @property
    def folder(self) -> Path:
        """The folder that the next run will make."""
        return Path(str(self.run_folder.value))

    def show_settings(self, settings: Settings) -> None:
        """Fill the form."""
        self._template = settings.model_copy(deep=True)
        if settings.preset in PRESETS:
            with self.preset.changed.blocked():
                self.preset.value = settings.preset
        for field, widget in self._widgets.items():
            widget.value = field.get(settings)
        by_hand = settings.switch_at == "never"
        self.switch_mode.value = BY_HAND if by_hand else AT_EPOCH
        planned = settings.switch_at
        self.switch_epoch.value = planned if isinstance(planned, int) else settings.encode.epochs

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
        self.preset.changed.connect(self._on_preset)
        self.switch_mode = ComboBox(
            label="Switch to auto-decoding",
            name="switch_mode",
            choices=[AT_EPOCH, BY_HAND],
            tooltip="By schedule at an epoch, or when you press the button.",
        )
        self.switch_epoch = SpinBox(
            label="", name="switch_epoch", max=10_000, tooltip="Epoch of the switch."
        )
        self.switch_mode.changed.connect(self._on_switch_mode)
        switch = Container(
            widgets=[self.switch_mode, self.switch_epoch],
            layout="horizontal",
            labels=False,
            label="Switch to auto-decoding",
        )
        switch.margins = (0, 0, 0, 0)
        self.run_folder = FileEdit(
            mode=FileDialogMode.EXISTING_DIRECTORY,
            label="Run folder",
            name="run_folder",
            tooltip="A new folder for this run.",
        )
        basic = [self._widget(field) for field in _BASIC]
        self._by_where("encode.epochs").changed.connect(self._on_encode_epochs)
        form = Container(widgets=[self.preset, *basic[:4], switch, *basic[4:], self.run_folder])
        advanced = Container(widgets=[self._widget(field) for field in _ADVANCED])
        self.advanced = QCollapsible("Advanced settings")
        self.advanced.addWidget(advanced.native)
        column = scrolling_layout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(form.native)
        column.addWidget(self.advanced)
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
        self._widgets[field] = widget
        return widget

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
    def _on_table(self, _table: ParticleTable) -> None:
        if not self._session.active:
            self.suggest_folder()

    @Slot(object)
    def _on_run_opened(self, snapshot: Any) -> None:
        self.show_settings(snapshot.settings)
