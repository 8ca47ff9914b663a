"""Aligning images with a map from given poses: gradient steps on SO(3), each image for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from napari_cryospin.engine.geometry.rotations import exponential_map
from napari_cryospin.engine.inference.per_image_adam import PerImageAdam
from napari_cryospin.engine.models.image import image_error

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.models.image import ImageModel

# one unit of the shift's parameter: the shift and the rotation share a learning rate in radians,
# and a radian at half the mask's radius moves the outline of a particle by about D/8
_SHIFT_UNIT = 1 / 8
# steps of a whole refinement, and learning rates at its beginning and end
_STEPS, _RATE, _LAST_RATE = 12, 0.03, 0.003


@dataclass(frozen=True)
class Refined:
    """Poses of m images after a refinement.

    Parameters
    ----------
    rotations
        Euler matrices, (m, 3, 3).
    shifts
        Their shifts, (m, 2); None where they were left out.
    errors
        Their errors per Fourier coefficient, the least on the way, (m,).
    first_errors
        The errors before, (m,).
    """

    rotations: Tensor
    shifts: Tensor | None
    errors: Tensor
    first_errors: Tensor


@dataclass(frozen=True)
class Alignment:
    """Images with the map that they are aligned with.

    Parameters
    ----------
    model
        Image model of the frequencies in use.
    grid
        Hartley grid of the map, (D+1)³.
    observed, ctf
        Coefficients of the images, and what multiplies those of a projection, (m, K).
    loss
        Error of the coefficients.
    """

    model: ImageModel
    grid: Tensor
    observed: Tensor
    ctf: Tensor
    loss: Literal["squared", "absolute"]

    def errors(self, rotations: Tensor, shifts: Tensor | None) -> Tensor:
        """Return the error of a pose of each image, (m,)."""
        predicted = self.ctf * self.model.project(self.grid, rotations, shifts)
        return image_error(predicted, self.observed, self.loss)

    def step(
        self, rotations: Tensor, shifts: Tensor | None, adam: PerImageAdam, numbers: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Move each pose by ``R ← exp([ω]×) R``, and each shift, by the gradient at ω = 0.

        Parameters
        ----------
        rotations, shifts
            Present poses, (m, 3, 3) and (m, 2); None leaves the shifts out.
        adam
            Optimiser with five parameters of each pose.
        numbers
            Numbers of the poses in it, (m,).

        Returns
        -------
        rotations, shifts
            The poses after the step.
        errors
            The errors before it, (m,).
        """
        step = torch.zeros(len(rotations), 5, device=rotations.device, requires_grad=True)
        errors = self.errors(*self._moved(rotations, shifts, step))
        # the sum, not the mean: each image's gradient is its own
        errors.sum().backward()
        assert step.grad is not None
        taken = adam.step(numbers, step.grad)
        return *self._moved(rotations, shifts, taken), errors.detach()

    def refine(self, rotations: Tensor, shifts: Tensor | None) -> Refined:
        """Take a number of steps from poses (m, 3, 3) and shifts (m, 2), while the map stays."""
        numbers = torch.arange(len(rotations), device=rotations.device)
        adam = PerImageAdam(len(numbers), 5, _RATE, rotations.device)
        poses, places, found = [], [], []
        for number in range(_STEPS + 1):
            adam.learning_rate = _RATE + (_LAST_RATE - _RATE) * number / _STEPS
            poses.append(rotations)
            places.append(shifts)
            rotations, shifts, errors = self.step(rotations, shifts, adam, numbers)
            found.append(errors)
        least, place = torch.stack(found).min(0)
        known = [each for each in places if each is not None]
        moved = torch.stack(known)[place, numbers] if known else None
        return Refined(
            torch.stack(poses)[place, numbers],
            moved,
            least,
            found[0],
        )

    def _moved(
        self, rotations: Tensor, shifts: Tensor | None, step: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        turned = exponential_map(step[:, :3]) @ rotations
        if shifts is None:
            return turned, None
        return turned, shifts + _SHIFT_UNIT * self.model.box * step[:, 3:]
