"""The FSC of two half-maps: without a mask, with one, and corrected for what the mask adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.fft

from napari_cryospin.engine.evaluation.fsc import crossing_shell, frequency_shells, fsc
from napari_cryospin.engine.evaluation.solvent_mask import solvent_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

# FSC below which half-maps agree no more
THRESHOLD = 0.143
# phases are random from where the FSC without a mask falls below this
_RANDOM_BELOW = 0.8
_SEED = 0
_TINY = 1e-6


@dataclass(frozen=True)
class HalfFsc:
    """The correlations of two half-maps at frequency radius 0, 1, …, D/2, each (D/2 + 1,).

    Parameters
    ----------
    unmasked
        Of the maps as they are.
    masked
        Of the maps in a soft mask around the molecule.
    randomised
        Of the same, with phases made random before they were masked where the maps agree less: what
        is left there is the mask's.
    corrected
        Masked, without what is the mask's: (masked − randomised) / (1 − randomised) (Chen et al.
        2013, doi:10.1016/j.ultramic.2013.06.004).
    mask
        The mask, (D, D, D).
    """

    unmasked: NDArray[np.float64]
    masked: NDArray[np.float64]
    randomised: NDArray[np.float64]
    corrected: NDArray[np.float64]
    mask: NDArray[np.float32]

    @classmethod
    def of(cls, one: NDArray[np.float32], two: NDArray[np.float32]) -> Self:
        """Return the correlations of half-maps (D, D, D)."""
        unmasked, mask = fsc(one, two), solvent_mask(one + two)
        masked = fsc(mask * one, mask * two)
        start = int(np.ceil(crossing_shell(unmasked, _RANDOM_BELOW)))
        noise = np.random.default_rng(_SEED)
        randomised = fsc(*(mask * _random_phases(each, start, noise) for each in (one, two)))
        shells = np.arange(len(masked))
        own = np.clip(randomised, 0, 1 - _TINY)
        corrected = np.where(shells < start, masked, (masked - own) / (1 - own))
        return cls(unmasked, masked, randomised, corrected, mask)


def _random_phases(
    volume: NDArray[np.float32], start: int, noise: np.random.Generator
) -> NDArray[np.float32]:
    """Return a map with random phases from a shell on, (D, D, D)."""
    box = len(volume)
    spectrum = scipy.fft.rfftn(volume)
    # the phases of noise are those of a real map
    phases = scipy.fft.rfftn(noise.standard_normal(volume.shape, np.float32))
    beyond = frequency_shells(box)[..., : box // 2 + 1] >= start
    spectrum[beyond] = (
        np.abs(spectrum[beyond]) * phases[beyond] / np.maximum(np.abs(phases[beyond]), _TINY)
    )
    result: NDArray[np.float32] = scipy.fft.irfftn(spectrum, volume.shape).astype(np.float32)
    return result
