"""A fourth inference, as another package would bring it: all that one needs is in this module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field

from napari_cryospin.engine.inference.interface import PoseInference, shuffled_batches
from napari_cryospin.engine.stages import BatchSize, Epochs, Inference, Stage

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.state.problem import Problem

GUESSED = Inference.register(
    "guessed",
    label="guessing",
    option="guess",
    code=77,
    candidates="what else was guessed",
    made_by=f"{__name__}:Guessing",
)


class GuessedStage(Stage):
    """Guessing: every pose is turned by an angle."""

    reads = frozenset({"scales"})

    inference: Inference = GUESSED
    epochs: Epochs = 2
    batch_size: BatchSize = 30
    angle: Annotated[float, Field(gt=0, le=180)] = Field(90.0, description="Angle, degrees.")

    def summary(self) -> str:
        """Return the angle."""
        return f"{self.angle:g}°"


class Guessing(PoseInference):
    """Turns the pose of every particle, and leaves the map as it is."""

    kind = GUESSED
    remembers = 1000
    radius = 4.0

    def __init__(self, problem: Problem, stage: GuessedStage) -> None:
        super().__init__(problem)
        self.stage, self.seen = stage, 0
        angle = torch.deg2rad(torch.tensor(stage.angle))
        c, s = float(angle.cos()), float(angle.sin())
        self._turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])

    @classmethod
    def of_stage(cls, problem: Problem, stage: Any, before: Any, start: int) -> Guessing:
        """Return the inference of a stage."""
        return cls(problem, stage)

    @classmethod
    def memory_needed(cls, stage: Any, model: Any, box: int, device: torch.device) -> float:
        """Return so much that an estimate tells it apart."""
        return 1e7 * stage.batch_size

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch."""
        return shuffled_batches(rows, self.stage.batch_size, order)

    def train_batch(self, rows: Tensor) -> float:
        """Turn the poses of particles ``rows``."""
        self.seen += len(rows)
        self.poses.rotations[rows] = self._turn @ self.poses.rotations[rows]
        return 1.0

    @property
    def held_out_gain(self) -> float | None:
        """The number of images seen, so that a test finds it again."""
        return float(self.seen)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs besides map and poses."""
        return {"seen": self.seen}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.seen = state["seen"]
