"""What a run was made of, so that it does not go on with other particles or another shape.

Numbers are compared within a tolerance, not by their bytes: another processor rounds otherwise.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_cryospin.engine.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_cryospin.engine.settings import Settings

# settings that may be changed before a resume: where things are, how fast, and for how long
_FREE = re.compile(
    r"preset|device|threads|checkpoint_minutes|branch_points"
    r"|data\.(stack|passthrough|datadir|truth_star|truth_map|particles_in)"
    r"|stages\.\d+\.(until|epochs|learning_rate_\w+|final_rate|visit_rate)"
)
# random directions that every image is projected onto; with its CTF these are its numbers
DIRECTIONS = 2
_NUMBERS = DIRECTIONS + 1
# images of unit noise give numbers of the order of 1
_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Fingerprint:
    """What a run was made of.

    Parameters
    ----------
    settings
        The settings that must stay, by dotted name.
    pixel_size
        Å per working pixel.
    signatures
        A few numbers of every particle, (n, 3) float32: its working image projected onto two
        random directions, and its CTF.
    """

    settings: dict[str, Any]
    pixel_size: float
    signatures: NDArray[np.float32]

    def figures(self) -> dict[str, Any]:
        """Return plain values, for JSON and checkpoints."""
        raw = np.ascontiguousarray(self.signatures, "<f4").tobytes()
        return {
            "settings": self.settings,
            "pixel_size": self.pixel_size,
            "particles": len(self.signatures),
            "signatures": base64.b64encode(raw).decode("ascii"),
        }

    @classmethod
    def from_figures(cls, figures: dict[str, Any]) -> Self:
        """Return the fingerprint of :meth:`figures`.

        Raises
        ------
        InputError
            If they are none.
        """
        try:
            raw = base64.b64decode(figures["signatures"], validate=True)
            signatures = np.frombuffer(raw, "<f4").reshape(int(figures["particles"]), _NUMBERS)
            return cls(dict(figures["settings"]), float(figures["pixel_size"]), signatures)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                "The last checkpoint does not tell what the run was made of: delete it to resume "
                "from the one before."
            ) from error

    def require_settings(self, settings: Settings, path: Path) -> None:
        """Raise InputError where a setting that shapes the run was changed in its file."""
        present = binding_settings(settings)
        for name, value in self.settings.items():
            gone = name not in present
            if gone and not name.startswith("stages."):
                continue  # of another version
            if gone or present[name] != value:
                now = "gone" if gone else f"{_shown(present[name])} now"
                raise InputError(
                    f"{path}: setting '{name}' was {_shown(value)} when the run began and is "
                    f"{now}: set it back to resume the run, or start a new one."
                )

    def difference(self, now: NDArray[np.float32], pixel_size: float) -> str | None:
        """Return in words how other particles differ; None where they are the same.

        Parameters
        ----------
        now
            Their signatures, (n, 3).
        pixel_size
            Å per working pixel.
        """
        before = self.signatures
        if len(before) != len(now):
            return f"there were {len(before)} particles, and now there are {len(now)}"
        if not np.isclose(self.pixel_size, pixel_size, rtol=1e-4):
            return (
                f"a pixel of the working box was {self.pixel_size:.4g} Å, and now is "
                f"{pixel_size:.4g} Å"
            )
        other = _differ(before[:, :DIRECTIONS], now[:, :DIRECTIONS])
        if other.any():
            if not _differ(_sorted(before), _sorted(now)).any():
                return "the same particles are in another order"
            return f"{int(other.sum())} of {len(now)} images are not the same"
        other = _differ(before, now)
        if other.any():
            return f"the CTF of {int(other.sum())} of {len(now)} particles is not the same"
        return None


def binding_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that a run must keep, by dotted name."""
    return {name: value for name, value in flat_settings(settings) if not _FREE.fullmatch(name)}


def flat_settings(settings: Settings) -> list[tuple[str, Any]]:
    """Return all settings with their dotted names; stages count from 0."""
    return _flat(settings.model_dump(mode="json"))


def _flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, list):
        parts = list(enumerate(value))
    else:
        return [(name, value)]
    prefix = f"{name}." if name else ""
    return [pair for key, part in parts for pair in _flat(part, f"{prefix}{key}")]


def _shown(value: object) -> str:
    return "not given" if value is None else str(value)


def _differ(before: NDArray[np.float32], now: NDArray[np.float32]) -> NDArray[np.bool_]:
    # images much brighter than their noise have larger numbers, and so has their rounding
    brightness = float(np.median(np.abs(before[:, :DIRECTIONS]))) if len(before) else 1.0
    size = np.ones(before.shape[1])
    size[:DIRECTIONS] = max(1.0, brightness)
    close = np.abs(before - now) <= _TOLERANCE * (size + 0.1 * np.abs(before))
    result: NDArray[np.bool_] = ~close.all(1)
    return result


def _sorted(signatures: NDArray[np.float32]) -> NDArray[np.float32]:
    return signatures[np.lexsort(signatures.T)]
