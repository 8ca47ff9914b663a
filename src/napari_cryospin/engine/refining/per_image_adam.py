"""Adam for parameters that belong to single images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


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
