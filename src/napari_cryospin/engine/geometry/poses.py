"""What is estimated of an image: how the map is turned, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch

from napari_cryospin.engine.geometry.rotations import exponential_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True)
class Poses:
    """Poses of images: one value each, whose fields belong together.

    Where shifts are not estimated they are zero.

    Parameters
    ----------
    rotations
        Euler matrices, (..., 3, 3).
    shifts
        Origin shifts (x, y), pixels of the working box, as RELION's: the content lies at −shift,
        (..., 2).
    classes
        Number of the map that each is a pose of, (...); None where there is one map.
    """

    rotations: Tensor
    shifts: Tensor
    classes: Tensor | None = None

    @classmethod
    def centred(cls, rotations: Tensor) -> Self:
        """Return poses without shifts."""
        return cls(rotations, rotations.new_zeros(*rotations.shape[:-2], 2))

    def __len__(self) -> int:
        return len(self.rotations)

    def __getitem__(self, part: Any) -> Self:
        classes = None if self.classes is None else self.classes[part]
        return type(self)(self.rotations[part], self.shifts[part], classes)

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the poses of all parts as one, (n,)."""
        classes = [part.classes for part in parts if part.classes is not None]
        return cls(
            torch.cat([part.rotations for part in parts]),
            torch.cat([part.shifts for part in parts]),
            torch.cat(classes) if classes else None,
        )

    def to(self, device: torch.device) -> Self:
        """Return the poses on a device."""
        classes = None if self.classes is None else self.classes.to(device)
        return type(self)(self.rotations.to(device), self.shifts.to(device), classes)

    def flatten(self) -> Self:
        """Return poses (a, b) one after the other, (a b,)."""
        classes = None if self.classes is None else self.classes.flatten(0, 1)
        return type(self)(self.rotations.flatten(0, 1), self.shifts.flatten(0, 1), classes)

    def detach(self) -> Self:
        """Return the poses without their history."""
        return type(self)(self.rotations.detach(), self.shifts.detach(), self.classes)

    def where(self, which: Tensor, other: Self) -> Self:
        """Return these poses where ``which`` (p,) is true, and others elsewhere."""
        return type(self)(
            torch.where(which[:, None, None], self.rotations, other.rotations),
            torch.where(which[:, None], self.shifts, other.shifts),
            None
            if self.classes is None or other.classes is None
            else torch.where(which, self.classes, other.classes),
        )

    def moved(self, step: Tensor) -> Self:
        """Return poses after steps (p, 5): ``R ← exp([ω]×) R``, radians, and shifts, pixels."""
        turned = exponential_map(step[:, :3]) @ self.rotations
        # rounding adds up over thousands of steps, and they would no longer be rotations: a step of
        # Newton's towards the nearest one
        identity = torch.eye(3, dtype=turned.dtype, device=turned.device)
        turned = turned @ (1.5 * identity - 0.5 * turned.mT @ turned)
        return type(self)(turned, self.shifts + step[:, 3:], self.classes)
