"""The sums of all classes' maps, from particles at one pose each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.models.sums import MapSums

if TYPE_CHECKING:
    from torch import Tensor

    from napari_cryospin.engine.data.observed import Observed
    from napari_cryospin.engine.geometry.poses import Poses
    from napari_cryospin.engine.models.image import ImageModel
    from napari_cryospin.engine.refining.alignment import Alignment
    from napari_cryospin.engine.state.problem import Problem


class ClassSums:
    """Adds particles to the sums of the maps that they are posed by.

    Parameters
    ----------
    model
        Image model of the frequencies in use.
    problem
        Maps and their symmetry.

    Attributes
    ----------
    of_class
        Sums of each of the C maps.
    """

    def __init__(self, model: ImageModel, problem: Problem) -> None:
        self.of_class = tuple(MapSums(model, problem.group) for _ in problem.maps)

    @property
    def n(self) -> int:
        """Number of particles in all of them."""
        return sum(each.n for each in self.of_class)

    @property
    def inserted(self) -> Tensor:
        """Sums of CTF · image and of CTF² of each, (C, 2, D+1, D+1, D+1)."""
        return torch.stack([each.inserted for each in self.of_class])

    def add(
        self,
        aligned: Alignment,
        seen: Observed,
        poses: Poses,
        *,
        learning: Tensor | None = None,
        variance: Tensor | float = 1.0,
    ) -> Tensor:
        """Add particles; return their errors per coefficient, (m,).

        Parameters
        ----------
        aligned
            The images beside the maps, by which errors are told.
        seen
            The images as they are, m of them.
        poses
            A pose of each, (m,).
        learning
            Which are added, bool, (m,): of the others errors are told alone. By default all.
        variance
            What the squares of errors are in units of, (K,).
        """
        everyone = torch.ones(len(poses), dtype=torch.bool, device=poses.rotations.device)
        learning = everyone if learning is None else learning
        errors = torch.empty(len(poses), device=poses.rotations.device)
        for number, sums in enumerate(self.of_class):
            own = everyone if poses.classes is None else poses.classes == number
            for added, part in ((True, own & learning), (False, own & ~learning)):
                beside = replace(aligned, images=aligned.images[part], numbers=None)
                errors[part], power = beside.residuals(poses[part])
                if added:
                    sums.add_images(seen[part], poses[part])
                    sums.count(power * variance, seen.membership[part])
        return errors

    def state(self) -> list[dict[str, Any]]:
        """Return what a checkpoint needs."""
        return [each.state() for each in self.of_class]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Restore :meth:`state`."""
        for each, own in zip(self.of_class, state, strict=True):
            each.load_state(own)
