"""Amortized inference (auto-encoding): an encoder proposes poses, and learns by a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

import torch

from napari_cryospin.engine.inference.asking import ROUNDS
from napari_cryospin.engine.inference.encoding import Encoding
from napari_cryospin.engine.inference.interface import PoseInference
from napari_cryospin.engine.inference.likelihood_teacher import LikelihoodTeacher
from napari_cryospin.engine.inference.memory_needs import FLOAT
from napari_cryospin.engine.inference.posterior_teacher import PosteriorTeacher
from napari_cryospin.engine.inference.winners_teacher import WinnersTeacher
from napari_cryospin.engine.models.encoders.choice import numbers_needed
from napari_cryospin.engine.stages import Inference
from napari_cryospin.engine.sums.centring import first_origins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.inference.teacher import Teacher
    from napari_cryospin.engine.models.encoders.interface import Encoder
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import AmortizedStage
    from napari_cryospin.engine.state.problem import Problem
    from napari_cryospin.engine.switch_figures import SwitchFigures

# particles that stand for all where none are held out
_PROBES = 200
# particles that are asked about at once, at the end of the stage
_ASKED = 2000
# rounds of centring then: shifts are those of the posteriors before, on a grid
_ROUNDS = 1


class Criterion(Protocol):
    """What says when auto-encoding is over: it measures the state after every epoch."""

    @property
    def over(self) -> bool:
        """Whether the map explains no more of the particles than it did."""

    @property
    def heads_know(self) -> bool:
        """Whether the heads know the modes of the posteriors."""

    @property
    def figures(self) -> SwitchFigures | None:
        """What was measured last."""

    def measure(
        self,
        problem: Problem,
        model: ImageModel,
        learning: Tensor,
        probes: Tensor,
        noise: NoiseSpectrum | None = None,
    ) -> object:
        """Measure the present state by particles that the map has, and has not, learned from."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""


class AmortizedInference(PoseInference):
    """Trains an encoder by batches of particles, while its teacher makes the map.

    Parameters
    ----------
    problem
        Particles, map and poses.
    stage
        Settings of the stage.
    criterion
        What says when it is over; None leaves that to the teacher, the epochs and the user.
    start
        Number of the start: each one has an encoder of its own.
    """

    kind = Inference.AMORTIZED
    remembers = PosteriorTeacher.remembers

    def __init__(
        self,
        problem: Problem,
        stage: AmortizedStage,
        criterion: Criterion | None = None,
        start: int = 0,
    ) -> None:
        super().__init__(problem)
        self.stage, self.criterion = stage, criterion
        self.encoding = Encoding(problem, stage.learning_rate_encoder, start)
        self.teacher = _teacher_of(stage)(problem, stage, self.encoding, start)

    @classmethod
    def of_stage(
        cls, problem: Problem, stage: AmortizedStage, before: PoseInference | None, start: int
    ) -> Self:
        """Return the inference of a stage, which knows no criterion of its own."""
        return cls(problem, stage, start=start)

    @classmethod
    def memory_needed(
        cls, stage: AmortizedStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of the encoder, of a batch that goes through it, and of the teacher."""
        encoder = numbers_needed(model, box, device, stage.batch_size)
        return encoder * FLOAT + _teacher_of(stage).memory_needed(stage, model, box, device)

    def begin(self) -> None:
        """Make room for the poses that the heads propose."""
        self.encoding.begin()

    def begin_warm(self, weights: dict[str, Tensor]) -> None:
        """Begin with an encoder that has learned, and with the map that it has learned from."""
        self.encoding.encoder.load_state_dict(weights)
        self.teacher.begin_warm()

    def begin_epoch(self, place: Place, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Do what the teacher does before the batches."""
        yield from self.teacher.begin_epoch(place, rows)

    def set_place(self, place: Place) -> None:
        """Follow the teacher's schedules."""
        self.teacher.set_place(place)

    @property
    def encoder(self) -> Encoder:
        """The encoder."""
        return self.encoding.encoder

    @property
    def radius(self) -> float:
        """Frequency radius that poses are judged by, in units of 1/box."""
        return self.teacher.radius

    @property
    def noise(self) -> NoiseSpectrum:
        """Noise of the images as the teacher knows it."""
        return self.teacher.noise

    @property
    def over(self) -> bool:
        """Whether the teacher has taught all it can, or what it teaches is known."""
        taught, criterion = self.teacher.over, self.criterion
        if criterion is None:
            return bool(taught)
        if self.teacher.ends_with_heads and criterion.heads_know:
            return True
        return criterion.over if taught is None else taught

    @property
    def held_out_gain(self) -> float | None:
        """Gain that the criterion of the switch measured last, nats per particle."""
        figures = self.switch_figures
        return None if figures is None else figures.gain

    @property
    def switch_figures(self) -> SwitchFigures | None:
        """What the criterion of the switch measured last."""
        return None if self.criterion is None else self.criterion.figures

    def batches(self, rows: Tensor, order: torch.Generator) -> list[Tensor]:
        """Return the rows of all batches of an epoch: the held-out particles are in none."""
        return self.teacher.batches(rows, order)

    def train_batch(self, rows: Tensor) -> float:
        """Let the teacher teach by particles ``rows``; return their mean error."""
        return self.teacher.train_batch(rows)

    def end_epoch(self, rows: Tensor) -> None:
        """Give the held-out particles poses as well, and measure the criterion of the switch."""
        self.teacher.end_epoch(rows)
        rows = self.teacher.learned_from(rows)
        held_out = self.problem.held_out[rows]
        measure = self.teacher.measure
        if held_out.any():
            self.encoding.propose(rows[held_out], measure)
        if self.criterion is None:
            return
        # without held-out particles some of the others stand for them
        probes = rows[held_out] if held_out.any() else rows[:: max(len(rows) // _PROBES, 1)]
        learning = rows[~held_out]
        self.criterion.measure(self.problem, measure.model, learning, probes, measure.noise)

    def end_stage(self, rows: Tensor) -> Iterator[tuple[int, int]]:
        """Teach what is left, then ask the encoder about all: none keeps an older answer.

        Those that were not learned from are found from nothing.
        """
        known = self.teacher.learned_from(rows)
        yield from self.teacher.end_stage(known)
        new = rows[~torch.isin(rows, known)]
        poses, measure, done = self.problem.poses, self.teacher.measure, 0
        if len(new) and self.problem.model.shifts:
            poses.shifts[new] = first_origins(self.particles, new, known)
        for some, rounds in ((known, _ROUNDS), (new, ROUNDS)):
            for part in some.split(_ASKED) if len(some) else ():
                self.encoding.propose(part, measure, rounds)
                done += len(part)
                yield done, len(rows)
        if len(new) and self.problem.model.scales and self.teacher.finds_scales:
            self.encoding.scale(new, measure)

    def likely_poses(self) -> Tensor:
        """Return what the teacher knows of poses, or else what the heads propose."""
        known = self.teacher.likely_poses()
        return super().likely_poses() if known is None else known

    @property
    def renews_candidates(self) -> bool:
        """Whether the teacher has the encoder asked about every particle of an epoch."""
        return self.teacher.asks_about_all

    def state(self) -> dict[str, Any]:
        """Return encoder, teacher and criterion for a checkpoint."""
        return {
            "encoding": self.encoding.state(),
            "teacher": self.teacher.state(),
            "criterion": None if self.criterion is None else self.criterion.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`."""
        self.encoding.load_state(state["encoding"])
        self.teacher.load_state(state["teacher"])
        if self.criterion is not None:
            self.criterion.load_state(state["criterion"])

    def adopt(self, state: dict[str, Any]) -> None:
        """Go on with an encoder of the same shape, and with what the teacher knows of poses."""
        if self.encoding.fits(state["encoding"]):
            self.encoding.load_state(state["encoding"])
        # another teacher, or other settings of it, may know other things
        if state["teacher"].keys() == self.teacher.state().keys():
            self.teacher.adopt(state["teacher"])


def _teacher_of(stage: AmortizedStage) -> type[Teacher]:
    if stage.teacher == "posterior":
        return PosteriorTeacher
    return WinnersTeacher if stage.volume_update == "closed form" else LikelihoodTeacher
