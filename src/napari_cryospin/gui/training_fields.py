"""The settings that the Training form shows: where each belongs, its label and its widget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, LineEdit, SpinBox

from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

    AnyWidget = ValueWidget[Any]

# the largest number that a spin box holds
_ANY = 2**31 - 1


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

    def make(self) -> AnyWidget:
        """Make the widget; its object name is the setting's place."""
        name = self.where.replace(".", "_")
        widget = self.widget(label=self.label, name=name, tooltip=self._tip(), **self.options)
        widget.native.setObjectName(self.where)
        if isinstance(widget, CheckBox):
            # the form has a column of labels
            widget.text = ""
        return widget

    def show(self, settings: Settings, widget: AnyWidget) -> None:
        """Show the value of the setting in its widget."""
        *path, name = self.where.split(".")
        value: Any = getattr(_section(settings, path), name)
        value = 0 if value is None else value
        if isinstance(widget, ComboBox) and value not in widget.choices:
            # a run from elsewhere may name what this form does not offer, such as cuda:1
            widget.choices = (*widget.choices, value)
        widget.value = str(value) if isinstance(widget, LineEdit) else value

    def take(self, settings: Settings, widget: AnyWidget) -> None:
        """Set the setting to what its widget says."""
        *path, name = self.where.split(".")
        value = widget.value
        setattr(_section(settings, path), name, None if self.optional and value == 0 else value)

    def _tip(self) -> str:
        *path, name = self.where.split(".")
        model: Any = Settings
        for part in path:
            model = model.model_fields[part].annotation
        return str(model.model_fields[name].description)


def _section(settings: Settings, path: list[str]) -> Any:
    section: Any = settings
    for part in path:
        section = getattr(section, part)
    return section


def _integer(where: str, label: str, low: int, high: int = _ANY, optional: bool = False) -> Field:
    return Field(where, label, SpinBox, {"min": low, "max": high}, optional)


def _typed(where: str, label: str) -> Field:
    """Return a field for numbers of any size, such as 3e-5, that a spin box would round."""
    return Field(where, label, LineEdit, {})


def _choice(where: str, label: str, *choices: Any) -> Field:
    return Field(where, label, ComboBox, {"choices": choices})


BASIC = (
    Field("data.box", "Working box (px)", SpinBox, {"min": 32, "max": 512, "step": 16}),
    _integer("model.heads", "Heads", 1, 64),
    _integer("encode.epochs", "Auto-encoding epochs", 0),
    _integer("decode.epochs", "Auto-decoding epochs", 0),
    Field("model.shifts", "Estimate shifts", CheckBox, {}),
    _choice("device", "Device", "auto", "cpu", "cuda"),
    _typed("seed", "Seed"),
)
ADVANCED = (
    _integer("data.max_particles", "Particles to use (0: all)", 0, optional=True),
    _choice("data.contrast", "Particles on disk", "as table", "white", "black"),
    Field(
        "data.mask_diameter",
        "Mask diameter (Å, 0: box)",
        FloatSpinBox,
        {"min": 0.0, "max": 1e5, "step": 10.0},
        optional=True,
    ),
    _integer("model.encoder_width", "Encoder width (0: by box)", 0, 256, optional=True),
    _choice("model.loss", "Loss", "squared", "absolute"),
    _integer("encode.batch_size", "Batch, auto-encoding", 1),
    _typed("encode.learning_rate_encoder", "Rate of encoder"),
    _typed("encode.learning_rate_volume", "Rate of volume, encoding"),
    _integer("decode.batch_size", "Batch, auto-decoding", 1),
    _typed("decode.learning_rate_pose", "Rate of poses (rad)"),
    _typed("decode.learning_rate_volume", "Rate of volume, decoding"),
    _typed("decode.final_rate", "Share of rates left at end"),
    _integer("decode.pose_steps", "Pose steps per volume step", 1),
    _integer("search.epochs", "Epochs with pose search", 0),
    _integer("search.starts", "Starts of pose search", 1, 20),
    _choice("search.nside", "HEALPix nside of search", 2, 4, 8),
    _integer("threads", "CPU threads (0: all but one)", 0, optional=True),
)
