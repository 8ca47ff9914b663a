"""All settings of a run by their dotted names, for tests of options, forms and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cryospin.engine.setting_fields import setting_field
from napari_cryospin.engine.settings import DataSettings, ModelSettings, Settings
from napari_cryospin.engine.stages import Inference

if TYPE_CHECKING:
    from napari_cryospin.engine.setting_fields import SettingField


def all_fields() -> list[SettingField]:
    """Return every setting with a value of its own."""
    models = {"": Settings, "data.": DataSettings, "model.": ModelSettings}
    models |= {f"{one}.": one.settings for one in Inference.registered()}
    return [
        setting_field(f"{section}{name}")
        for section, model in models.items()
        for name in model.model_fields
        if name not in ("data", "model", "stages", "inference")
    ]


def numbers() -> list[SettingField]:
    """Return the settings that are numbers with a range."""
    return [field for field in all_fields() if field.type in (int, float) and not field.choices]
