"""Teaching by the likelihood: the best of an image's proposals wins, and it alone learns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.inference.asking import Measure, compared
from napari_cryospin.engine.inference.low_pass import LowPass
from napari_cryospin.engine.inference.map_errors import errors_of_maps
from napari_cryospin.engine.inference.memory_needs import FLOAT, PER_COEFFICIENT, coefficients
from napari_cryospin.engine.inference.teacher import Teacher

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.inference.encoding import Encoding
    from napari_cryospin.engine.inference.interface import Place
    from napari_cryospin.engine.settings import ModelSettings
    from napari_cryospin.engine.stages import AmortizedStage
    from napari_cryospin.engine.state.problem import Problem


class LikelihoodTeacher(Teacher):
    """Encoder and map together take a step on the error of each image's best proposal.

    cryoSPIN, section 3.2: winner takes all. Proposals are scored without a gradient; forward and
    backward passes are then made for the winner alone.
    """

    asks_about_all = True

    def __init__(
        self, problem: Problem, stage: AmortizedStage, encoding: Encoding, start: int
    ) -> None:
        super().__init__(problem, stage, encoding, start)
        self._low_pass = LowPass(problem.particles, stage)
        self._map_optimizer = torch.optim.Adam(
            [each for own in problem.maps for each in own.parameters()],
            lr=stage.learning_rate_volume,
        )

    @classmethod
    def memory_needed(
        cls, stage: AmortizedStage, model: ModelSettings, box: int, device: torch.device
    ) -> float:
        """Return the bytes of the projections that gradients go through."""
        return 8 * stage.batch_size * coefficients(box) * PER_COEFFICIENT / 4 * FLOAT

    @property
    def measure(self) -> Measure:
        """The present map, at the frequencies of the low-pass filter."""
        return Measure.of(self.problem, self._low_pass.model)

    @property
    def radius(self) -> float:
        """Frequency radius of the low-pass filter, in units of 1/box."""
        return self._low_pass.radius

    def set_place(self, place: Place) -> None:
        """Follow the low-pass schedule."""
        self._low_pass.follow(place.done)

    def train_batch(self, rows: Tensor) -> float:
        """Take one step on particles ``rows``; return the winners' mean error."""
        encoding, model, loss = self.encoding, self._low_pass.model, self.problem.model.loss
        encoder = encoding.encoder
        images = self.problem.particles.images(rows)
        look = encoder.centred(encoding.look(rows, images), encoding.origins(rows))
        seen = encoding.observed(rows, model, images)
        with torch.no_grad():
            proposed, errors, by_class = compared(self.measure, seen, encoder(look), loss)
        winner = errors.argmin(1)
        head, turn = winner // encoder.turns, winner % encoder.turns
        each = torch.arange(len(rows), device=rows.device)
        # the best pose of the best map: winner takes all
        poses = replace(encoder(look, turn)[each, head], classes=proposed[each, winner].classes)
        error = errors_of_maps(model, self.problem.maps, poses, seen, loss).mean()
        encoding.optimizer.zero_grad()
        self._map_optimizer.zero_grad()
        error.backward()
        encoding.optimizer.step()
        self._map_optimizer.step()
        encoding.record(seen, proposed, errors, by_class)
        return error.item()

    def state(self) -> dict[str, Any]:
        """Return the map's optimiser, and the radius, for a checkpoint."""
        return {"map_optimizer": self._map_optimizer.state_dict(), "radius": self.radius}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state`, with the learning rate of the present settings."""
        # earlier versions did not keep it
        self._low_pass.come_to(state.get("radius", self.radius))
        self._map_optimizer.load_state_dict(state["map_optimizer"])
        for group in self._map_optimizer.param_groups:
            group["lr"] = self.stage.learning_rate_volume
