"""Several maps behind the interface of one: poses say of which map they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_cryospin.engine.kernels.interface import PosedImages, PoseFit, Slicer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from napari_cryospin.engine.geometry.poses import Poses


class SlicerOfMaps(Slicer):
    """Slices of several maps.

    Parameters
    ----------
    maps
        What reads each of them, C.
    """

    def __init__(self, maps: Sequence[Slicer]) -> None:
        self.maps = tuple(maps)

    def slices(self, rotations: Tensor, frequencies: Tensor) -> Tensor:
        """Raise TypeError: rotations alone do not say of which map they are."""
        raise TypeError("Which of the maps? Ask by poses that have a class.")

    def at(self, poses: Poses, frequencies: Tensor) -> Tensor:
        """Return slices, (p, K), each of its pose's map."""
        found = poses.rotations.new_empty(len(poses), len(frequencies))
        for own, here in self._parts(poses):
            found[here] = own.slices(poses.rotations[here], frequencies)
        return found

    def fit(self, images: PosedImages, *, absolute: bool = False) -> PoseFit:
        """Return error, gradient and normal matrix of poses."""
        parts = [
            (here, own.fit(_those_of(images, here), absolute=absolute))
            for own, here in self._parts(images.poses)
        ]
        order = torch.cat([here for here, _ in parts]).argsort()
        joined = (
            torch.cat(each)[order]
            for each in zip(*(vars(fit).values() for _, fit in parts), strict=True)
        )
        return PoseFit(*joined)

    def errors(self, images: PosedImages, *, absolute: bool = False) -> tuple[Tensor, Tensor]:
        """Return mean errors of poses, (p,), and the sum over all poses of squares, (K,)."""
        frequencies = images.frequencies
        found = images.observed.new_empty(len(images.poses))
        power = images.observed.new_zeros(len(frequencies))
        for own, here in self._parts(images.poses):
            found[here], of_map = own.errors(_those_of(images, here), absolute=absolute)
            power += of_map
        return found, power

    def _parts(self, poses: Poses) -> Iterator[tuple[Slicer, Tensor]]:
        """Yield every map with the places of its poses; the first one also where it has none."""
        assert poses.classes is not None, "poses of several maps have no class"
        for number, own in enumerate(self.maps):
            here = (poses.classes == number).nonzero().flatten()
            if len(here) or number == 0:
                yield own, here


def _those_of(images: PosedImages, here: Tensor) -> PosedImages:
    """Return the images beside some of the poses, at places (m,)."""
    numbers = here if images.numbers is None else images.numbers[here]
    return replace(images, poses=images.poses[here], numbers=numbers)
