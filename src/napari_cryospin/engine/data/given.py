"""What the user says of a stack beyond its table: where images are, and values of the optics."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from napari_cryospin.engine.data.table import OpticsGroup
    from napari_cryospin.engine.settings import DataSettings

OPTIONS = {
    "pixel_size": "--pixel-size",
    "voltage": "--voltage",
    "spherical_aberration": "--cs",
    "amplitude_contrast": "--amplitude-contrast",
}
_WORDS = {
    "pixel_size": ("pixel size", "Å"),
    "voltage": ("voltage", "kV"),
    "spherical_aberration": ("spherical aberration", "mm"),
    "amplitude_contrast": ("amplitude contrast", ""),
}


@dataclass(frozen=True)
class Given:
    """Values that the user gives for all particles; they win over those of the table.

    What is None, as all is by default, is the table's.

    Parameters
    ----------
    datadir
        Folder that the image files are looked for in first.
    pixel_size
        Å per pixel of the extracted particles.
    voltage, spherical_aberration, amplitude_contrast
        kV, mm, and a fraction between 0 and 1.
    """

    datadir: Path | None = None
    pixel_size: float | None = None
    voltage: float | None = None
    spherical_aberration: float | None = None
    amplitude_contrast: float | None = None

    def __post_init__(self) -> None:
        if self.datadir is not None:
            object.__setattr__(self, "datadir", Path(self.datadir))

    @classmethod
    def of(cls, data: DataSettings) -> Self:
        """Return what the settings of a run say."""
        return cls(data.datadir, *(getattr(data, name) for name in OPTIONS))

    def value(self, name: str) -> float | None:
        """Return a value by its name, such as "voltage", or None."""
        found: float | None = getattr(self, name)
        return found

    def require_folder(self) -> None:
        """Raise InputError if the folder of images is none."""
        if self.datadir is not None and not self.datadir.is_dir():
            raise InputError(f"There is no folder {self.datadir} to find images in (--datadir).")

    def over(self, groups: tuple[OpticsGroup, ...], notes: list[str]) -> tuple[OpticsGroup, ...]:
        """Return optics groups with the given values; notes on them are appended."""
        for name, (words, unit) in _WORDS.items():
            value = self.value(name)
            if value is None:
                continue
            stated = {getattr(group, name) for group in groups} - {value, None}
            if stated:
                used = f"The {words} is {value:g} {unit}".rstrip()
                instead = ", ".join(f"{x:g}" for x in sorted(stated)[:3])
                notes.append(f"{used}, as given, and not {instead}.")
            groups = tuple(_with(group, name, value) for group in groups)
        return groups


def _with(group: OpticsGroup, name: str, value: float) -> OpticsGroup:
    change: dict[str, Any] = {name: value}
    return replace(group, **change)
