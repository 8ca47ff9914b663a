"""The maps of all classes, made anew together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_cryospin.engine.models.map_update import MapUpdate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from napari_cryospin.engine.models.noise import NoiseSpectrum
    from napari_cryospin.engine.models.volume import Map


class MapUpdates:
    """Makes the map of each class of its own sums.

    Parameters
    ----------
    maps
        The maps, C of them; they are changed in place.
    box
        Their side D.
    device
        Where they live.
    options
        As for :class:`~.map_update.MapUpdate`.
    """

    def __init__(self, maps: Sequence[Map], box: int, device: torch.device, **options: Any) -> None:
        self._maps = maps
        self.of_class = [MapUpdate(box, each.amplitude, device=device, **options) for each in maps]

    def __call__(self, inserted: Iterable[Tensor], noise: NoiseSpectrum) -> None:
        """Make all maps anew of the sums of each, C of (2, D+1, D+1, D+1)."""
        for each, update, own in zip(self._maps, self.of_class, inserted, strict=True):
            each.assign(update(own, noise))

    @property
    def memory(self) -> float:
        """Batches that the statistics stand for."""
        return self.of_class[0].memory

    def remember_longer(self, times: float) -> None:
        """Let the statistics stand for so many times as many batches."""
        for update in self.of_class:
            update.memory *= times

    def go_on_from(self, before: MapUpdates) -> None:
        """Take over what others have learned of the signal, and their maps."""
        for update, earlier in zip(self.of_class, before.of_class, strict=True):
            update.go_on_from(earlier)

    def weights(self, noise: NoiseSpectrum) -> Tensor:
        """Return what the sums of CTF·image are divided by, (C, D+1, D+1, D+1), as of now."""
        return torch.stack([update.weights(noise) for update in self.of_class])

    def state(self) -> list[dict[str, Any]]:
        """Return what a checkpoint needs."""
        return [update.state() for update in self.of_class]

    def load_state(self, state: list[dict[str, Any]]) -> None:
        """Restore :meth:`state`."""
        for update, own in zip(self.of_class, state, strict=True):
            update.load_state(own)
