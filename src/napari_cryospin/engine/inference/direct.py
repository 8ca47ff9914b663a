"""Direct inference (auto-decoding): the pose of each particle is optimised by SGD on SO(3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.geometry.rotations import exponential_map
from napari_cryospin.engine.models.image import ImageModel, image_error

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.preprocess import WorkingStack
    from napari_cryospin.engine.inference.poses import PoseTable
    from napari_cryospin.engine.models.volume import HartleyVolume
    from napari_cryospin.engine.settings import Settings

# one unit of the shift's parameter: the shift and the rotation share a learning rate in radians,
# and a radian at half the mask's radius moves the outline of a particle by about D/8
_SHIFT_UNIT = 1 / 8


class DirectInference:
    """Alternates pose steps (per-image Adam) with a step of the volume, on batches of particles.

    Parameters are those of :class:`~.amortized.AmortizedInference`; it uses the decode settings.
    """

    def __init__(
        self, stack: WorkingStack, volume: HartleyVolume, poses: PoseTable, settings: Settings
    ) -> None:
        self.stack, self.volume, self.poses = stack, volume, poses
        self.loss = settings.model.loss
        self.shifts = settings.model.shifts
        self._decode = settings.decode
        device = stack.images.device
        self.model = ImageModel.within(stack.box, stack.box / 2, device)
        self.pose_optimizer = PerImageAdam(stack.n, 5, settings.decode.learning_rate_pose, device)
        self.volume_optimizer = torch.optim.Adam(
            volume.parameters(), lr=settings.decode.learning_rate_volume
        )

    def set_rate(self, factor: float) -> None:
        """Scale both learning rates by ``factor``."""
        self.pose_optimizer.learning_rate = factor * self._decode.learning_rate_pose
        for group in self.volume_optimizer.param_groups:
            group["lr"] = factor * self._decode.learning_rate_volume

    def train_batch(self, rows: Tensor) -> float:
        """Take the pose steps and a volume step on particles ``rows``; return the mean error."""
        observed = self.model.coefficients(self.stack.images[rows])
        ctf = self.stack.ctf(rows, self.model.frequencies)
        grid = self.volume().detach()
        for _ in range(self._decode.pose_steps):
            self._pose_step(rows, grid, observed, ctf)
        rotations, shifts = self.poses.rotations[rows], self.poses.shifts[rows]
        projection = self.model.project(self.volume(), rotations, shifts if self.shifts else None)
        losses = image_error(ctf * projection, observed, self.loss)
        self.poses.losses[rows] = losses.detach()
        loss = losses.mean()
        self.volume_optimizer.zero_grad()
        loss.backward()
        self.volume_optimizer.step()
        return loss.item()

    def _pose_step(self, rows: Tensor, grid: Tensor, observed: Tensor, ctf: Tensor) -> None:
        """Move each pose by ``R ← exp([ω]×) R``, and each shift, by the gradient at ω = 0."""
        step = torch.zeros(len(rows), 5, device=rows.device, requires_grad=True)
        rotations, shifts = self._moved(rows, step)
        projection = self.model.project(grid, rotations, shifts if self.shifts else None)
        # the sum, not the mean: each image's gradient is its own
        image_error(ctf * projection, observed, self.loss).sum().backward()
        assert step.grad is not None
        with torch.no_grad():
            rotations, shifts = self._moved(rows, self.pose_optimizer.step(rows, step.grad))
            self.poses.rotations[rows] = rotations
            if self.shifts:
                self.poses.shifts[rows] = shifts

    def _moved(self, rows: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        rotations = exponential_map(step[:, :3]) @ self.poses.rotations[rows]
        shifts = self.poses.shifts[rows] + _SHIFT_UNIT * self.stack.box * step[:, 3:]
        return rotations, shifts

    def state(self) -> dict[str, Any]:
        """Return the optimisers for a checkpoint."""
        return {
            "pose_optimizer": self.pose_optimizer.state(),
            "volume_optimizer": self.volume_optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.pose_optimizer.load_state(state["pose_optimizer"])
        self.volume_optimizer.load_state_dict(state["volume_optimizer"])


class PerImageAdam:
    """Adam with moments and step counts of each image's own; only the rows of a batch are touched.

    Parameters
    ----------
    n, size
        Number of images, and of parameters of each.
    learning_rate
        Step length, in the unit of the parameters.
    device
        Where the state lives.
    beta1, beta2
        Decay of the moments; the paper's β₂ is 0.9, for an image is visited seldom.
    """

    def __init__(
        self,
        n: int,
        size: int,
        learning_rate: float,
        device: torch.device,
        beta1: float = 0.9,
        beta2: float = 0.9,
    ) -> None:
        self.learning_rate, self.beta1, self.beta2 = learning_rate, beta1, beta2
        self.first = torch.zeros(n, size, device=device)
        self.second = torch.zeros(n, size, device=device)
        self.steps = torch.zeros(n, 1, device=device)

    def step(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Return the step to take, (b, size), from the gradient of the images ``rows``."""
        first = torch.lerp(gradient, self.first[rows], self.beta1)
        second = torch.lerp(gradient.square(), self.second[rows], self.beta2)
        steps = self.steps[rows] + 1
        self.first[rows], self.second[rows], self.steps[rows] = first, second, steps
        mean = first / (1 - self.beta1**steps)
        scale = (second / (1 - self.beta2**steps)).sqrt()
        return -self.learning_rate * mean / (scale + 1e-8)

    def state(self) -> dict[str, Tensor]:
        """Return moments and step counts for a checkpoint."""
        return {"first": self.first, "second": self.second, "steps": self.steps}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore :meth:`state`."""
        self.first, self.second, self.steps = state["first"], state["second"], state["steps"]
