"""How far two half-maps agree, in words: a resolution only where the halves are independent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self, TypeGuard


@dataclass(frozen=True)
class HalfResolution:
    """Where the FSC of two half-maps falls below 0.143.

    Parameters
    ----------
    angstrom
        There, Å.
    nyquist
        Whether it falls below nowhere: ``angstrom`` is Nyquist then.
    shared
        What independent halves have in common is coarser than this, Å. None where they share poses:
        they agree then, right or wrong, and it is an upper bound and no resolution.
    """

    angstrom: float
    nyquist: bool = False
    shared: float | None = None

    @property
    def found(self) -> bool:
        """Whether it is a resolution: independent halves agree beyond what they share."""
        return self.shared is not None and self.angstrom < self.shared

    def sentence(self) -> str:
        """Return it in words."""
        if self.shared is None:
            return f"FSC of half-maps with shared poses: {self.angstrom:.1f} Å, an upper bound."
        shared = f"what they share is coarser than {self.shared:.0f} Å"
        if not self.found:
            return f"No resolution: independent halves agree on nothing finer; {shared}."
        better = "better than " if self.nyquist else ""
        end = ", Nyquist" if self.nyquist else ""
        return (
            f"Resolution {better}{self.angstrom:.1f} Å{end} (FSC 0.143, independent halves; "
            f"{shared})."
        )

    @classmethod
    def of_figures(cls, figures: Any) -> Self | None:
        """Return what a log of events tells; None where that is nothing of the kind."""
        if not isinstance(figures, dict):
            return None
        angstrom, shared = figures.get("angstrom"), figures.get("shared")
        if not _is_length(angstrom) or not (shared is None or _is_length(shared)):
            return None
        return cls(angstrom, figures.get("nyquist") is True, shared)


def _is_length(value: Any) -> TypeGuard[float]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0
