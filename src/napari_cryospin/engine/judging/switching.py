"""When auto-encoding has done what it can: the measured criterion of the switch.

After each epoch the held-out particles say how much the map explains of them, whatever their poses:
auto-encoding goes on while that rises. Two more figures say what the switch can do and what not:
whether the winning head lies in the basin of the best mode of the exact posterior, and how much
better each pose would be if it were refined for itself, the amortization gap. Auto-decoding can
close the gap, but it cannot leave a basin. How well all the candidates stand for the posterior is
measured beside them. Once nearly all winners lie in best modes, and the candidates cover nearly all
of the posteriors, auto-decoding does the rest faster.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from napari_cryospin.engine.geometry.cells import SAME_MODE
from napari_cryospin.engine.geometry.rotations import angular_distance
from napari_cryospin.engine.inference.amortized import AmortizedInference
from napari_cryospin.engine.judging.evidence import judge_with_posteriors
from napari_cryospin.engine.judging.heads import head_figures
from napari_cryospin.engine.kernels import slicer_of
from napari_cryospin.engine.refining.alignment import Alignment
from napari_cryospin.engine.switch_figures import SwitchFigures

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.interface import PoseInference
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.stages import AmortizedStage
    from napari_cryospin.engine.state.problem import Problem

# the gain has to rise by this share of itself, and by so many nats ...
_RISE, _LEAST_RISE = 0.01, 0.1
# ... within so many batches and epochs: of a small stack an epoch teaches little
_PATIENCE_BATCHES, _PATIENCE_EPOCHS = 500, 3
# heads know the modes where winners in the best mode, and coverage, are so large ...
_KNOWN = 0.95
# ... after so many epochs in a row: a few probes can be lucky once
_KNOWN_EPOCHS = 2
# probes that the heads are measured by after every epoch: their finer posteriors take long
_PROBED = 64


class SwitchCriterion:
    """Follows the figures over the epochs of auto-encoding.

    Parameters
    ----------
    batches
        Batches of an epoch.
    """

    def __init__(self, batches: int) -> None:
        self.patience = max(math.ceil(_PATIENCE_BATCHES / batches), _PATIENCE_EPOCHS)
        self.gains: list[float] = []
        self.figures: SwitchFigures | None = None
        self._known = 0

    @classmethod
    def of(cls, problem: Problem, stage: AmortizedStage) -> Self:
        """Return the criterion of a stage of auto-encoding."""
        learning = int((~problem.held_out).sum())
        return cls(math.ceil(learning / stage.batch_size))

    @property
    def heads_know(self) -> bool:
        """Whether winners lie in the best modes, and candidates cover the posteriors."""
        return self._known >= _KNOWN_EPOCHS

    @property
    def over(self) -> bool:
        """Whether the gain has risen no more."""
        threshold = self.threshold
        return threshold is not None and max(self.gains[-self.patience :]) < threshold

    @property
    def threshold(self) -> float | None:
        """Gain that one of the last epochs has to reach for auto-encoding to go on."""
        earlier = self.gains[: -self.patience]
        if not earlier:
            return None
        best = max(earlier)
        return best + max(_RISE * abs(best), _LEAST_RISE)

    def measure(
        self,
        problem: Problem,
        model: ImageModel,
        learning: Tensor,
        probes: Tensor,
        noise: NoiseSpectrum | None = None,
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
        noise
            The noise, where it is known.
        """
        found = judge_with_posteriors(problem, learning, probes, noise)
        if found is None:
            self.figures = None
            self._known = 0
            return None
        judged, exact = found
        own = problem.poses.rotations[probes]
        inside = angular_distance(own, judged.modes[:, 0]) <= SAME_MODE
        share = float(inside.float().mean())
        self.gains.append(judged.mean_gain)
        gap = amortization_gap(problem, model, probes)
        heads = head_figures(problem, exact.first(_PROBED))
        self._known = self._known + 1 if min(share, heads.coverage) >= _KNOWN else 0
        self.figures = SwitchFigures(judged.mean_gain, self.threshold, share, gap, heads)
        return self.figures

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"gains": self.gains, "known": self._known}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.gains, self._known = state["gains"], state["known"]


class SwitchedEncoding(AmortizedInference):
    """Auto-encoding that says by its measured figures when it is over."""

    @classmethod
    def of_stage(
        cls, problem: Problem, stage: AmortizedStage, before: PoseInference | None, start: int
    ) -> Self:
        """Return the inference of a stage, with the criterion of the switch."""
        return cls(problem, stage, SwitchCriterion.of(problem, stage), start)


def amortization_gap(problem: Problem, model: ImageModel, rows: Tensor) -> float:
    """Return what refining each pose for itself would gain, as a share of the error."""
    particles, poses, loss = problem.particles, problem.poses, problem.model.loss
    seen = particles.observed(rows, model, scales=poses.scales[rows])
    aligned = Alignment(model, slicer_of(problem.grids), seen, loss, shifted=problem.model.shifts)
    refined = aligned.refine(poses.at(rows))
    return float((refined.first_errors - refined.errors).mean() / refined.first_errors.mean())
