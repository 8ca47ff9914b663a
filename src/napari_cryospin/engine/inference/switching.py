"""When auto-encoding has done what it can: the measured criterion of the switch.

After each epoch the held-out particles are asked twice. Which pose does the exact posterior prefer,
given the present map: does the winning head lie in the basin of its best mode? And how much better
would each pose be if it were refined for itself: the amortization gap. Auto-decoding can close the
gap, but it cannot leave a basin: so auto-encoding goes on while the share of particles in the best
basin rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.geometry.rotations import exponential_map, rotation_angle
from napari_cryospin.engine.inference.marginal.judge import judge
from napari_cryospin.engine.inference.per_image_adam import PerImageAdam
from napari_cryospin.engine.models.image import image_error

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.interface import Problem
    from napari_cryospin.engine.models.image import ImageModel

# a pose this near to a mode's peak is in its basin, degrees
BASIN = 30.0
# the share has to rise by this, within so many epochs
RISE, PATIENCE = 0.02, 3
# with so many particles in the best basin nothing is left to wait for
_ENOUGH = 0.95
# local refinement of a pose, for the gap
_STEPS, _RATE = 10, 0.03


@dataclass(frozen=True)
class SwitchFigures:
    """What the criterion measured after an epoch.

    Parameters
    ----------
    winner_in_best_mode
        Share of the probe particles whose winning head lies in the basin of the posterior's best
        mode.
    threshold
        Share that one of the last epochs has to reach for auto-encoding to go on.
    amortization_gap
        Mean error of the winning heads' poses, less that of the best pose nearby, as a share of
        the former.
    """

    winner_in_best_mode: float
    threshold: float
    amortization_gap: float


class SwitchCriterion:
    """Follows the figures over the epochs of auto-encoding."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.figures: SwitchFigures | None = None

    @property
    def over(self) -> bool:
        """Whether it is time to switch."""
        if not self.shares:
            return False
        settled = max(self.shares[-PATIENCE:]) < self.threshold
        return settled or self.shares[-1] >= _ENOUGH

    @property
    def threshold(self) -> float:
        """Share that one of the last epochs has to reach for auto-encoding to go on."""
        earlier = self.shares[:-PATIENCE]
        return max(earlier) + RISE if earlier else 0.0

    def measure(
        self, problem: Problem, model: ImageModel, learning: Tensor, probes: Tensor
    ) -> SwitchFigures | None:
        """Measure the present state.

        Parameters
        ----------
        problem
            Particles, map and poses.
        model
            Image model of the loss.
        learning
            Rows of particles that the map has learned from.
        probes
            Rows of the probe particles.
        """
        judged = judge(problem, learning, probes)
        if judged is None:
            self.figures = None
            return None
        own = problem.poses.rotations[probes]
        inside = rotation_angle(own, judged.modes[:, 0]) <= BASIN
        share = float(inside.float().mean())
        self.shares.append(share)
        gap = amortization_gap(problem, model, probes)
        self.figures = SwitchFigures(share, self.threshold, gap)
        return self.figures

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"shares": self.shares}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.shares = state["shares"]


def amortization_gap(problem: Problem, model: ImageModel, rows: Tensor) -> float:
    """Return what refining each pose for itself would gain, as a share of the error."""
    stack, poses, loss = problem.stack, problem.poses, problem.model.loss
    observed = model.coefficients(stack.images[rows])
    ctf = stack.ctf(rows, model.frequencies) * poses.scales[rows, None]
    grid = problem.volume().detach()
    shifts = poses.shifts[rows] if problem.model.shifts else None
    rotations = poses.rotations[rows]
    adam = PerImageAdam(len(rows), 3, _RATE, rows.device)
    places = torch.arange(len(rows), device=rows.device)
    first = best = torch.full((len(rows),), torch.inf, device=rows.device)
    for step in range(_STEPS + 1):
        turn = torch.zeros(len(rows), 3, device=rows.device, requires_grad=True)
        projection = model.project(grid, exponential_map(turn) @ rotations, shifts)
        errors = image_error(ctf * projection, observed, loss)
        errors.sum().backward()
        first = errors.detach() if step == 0 else first
        best = torch.minimum(best, errors.detach())
        assert turn.grad is not None
        rotations = exponential_map(adam.step(places, turn.grad)) @ rotations
    return float((first - best).mean() / first.mean())
