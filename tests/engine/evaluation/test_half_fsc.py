"""The FSC of half-maps in a mask, and what of it is the mask's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.evaluation.fsc import crossing_shell, frequency_shells, fsc
from napari_cryospin.engine.evaluation.half_fsc import THRESHOLD, HalfFsc
from napari_cryospin.engine.evaluation.solvent_mask import solvent_mask

BOX = 48


@pytest.fixture(scope="module")
def molecule() -> np.ndarray:
    return procedural_molecule(box=BOX, pixel_size=3.0)


def halves(molecule: np.ndarray, end: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two half-maps of a molecule that ends at a shell, with independent noise."""
    random = np.random.default_rng(seed)
    shells = frequency_shells(BOX)
    signal = scipy.fft.ifftn(scipy.fft.fftn(molecule) * (shells <= end)).real
    noise = [random.standard_normal(molecule.shape) for _ in range(2)]
    one, two = (signal + 0.5 * signal.std() * each for each in noise)
    return one.astype("f4"), two.astype("f4")


def test_what_lies_beyond_the_signal_is_taken_from_the_mask(molecule: np.ndarray) -> None:
    found = [HalfFsc.of(*halves(molecule, 12, seed)) for seed in range(4)]
    beyond = slice(14, BOX // 2)
    for each in found:
        assert np.abs(each.corrected[beyond]).max() < THRESHOLD
        assert 11.5 < crossing_shell(each.corrected, THRESHOLD) <= 13.5
    # a mask leaves the signal and takes noise away
    masked = np.mean([each.masked[8:12].mean() for each in found])
    assert masked > np.mean([each.unmasked[8:12].mean() for each in found]) + 0.02


def test_a_mask_alone_is_no_agreement(molecule: np.ndarray) -> None:
    """Two maps of noise with strong low frequencies in common, in a tight mask."""
    shells = frequency_shells(BOX)
    random = np.random.default_rng(0)
    low = scipy.fft.ifftn(scipy.fft.fftn(molecule) * (shells <= 3)).real
    one, two = (
        (low + 0.02 * low.std() * random.standard_normal(low.shape)).astype("f4") for _ in range(2)
    )
    found = HalfFsc.of(one, two)
    # the mask carries the low frequencies to shells where there is nothing
    assert found.masked[5] > 0.5
    assert found.randomised[6] > 0.3
    assert np.abs(found.corrected[8:]).max() < THRESHOLD


def test_maps_that_are_equal_agree_everywhere(molecule: np.ndarray) -> None:
    found = HalfFsc.of(molecule, molecule)
    assert found.corrected == pytest.approx(1)


def test_the_mask_holds_the_molecule_and_little_else(molecule: np.ndarray) -> None:
    one, two = halves(molecule, 16, 0)
    mask = solvent_mask(one + two)
    inside = molecule > 0.05 * molecule.max()
    assert mask[inside].mean() > 0.98
    assert mask.mean() < 0.2
    assert mask.min() == 0 and mask.max() == 1
    # as it is whatever the unit, and each time
    assert np.array_equal(mask, solvent_mask(7 * (one + two)))
    corner = mask[0, 0, 0]
    assert corner == 0


def test_a_map_of_nothing_has_a_mask(molecule: np.ndarray) -> None:
    empty = np.zeros_like(molecule)
    assert np.isfinite(solvent_mask(empty)).all()
    assert np.isfinite(HalfFsc.of(empty, empty).corrected).all()


def test_random_phases_leave_the_power(molecule: np.ndarray) -> None:
    from napari_cryospin.engine.evaluation.half_fsc import _random_phases

    turned = _random_phases(molecule, 10, np.random.default_rng(0))
    shells = frequency_shells(BOX).ravel()
    power = [
        np.bincount(shells, np.abs(scipy.fft.fftn(each)).ravel() ** 2)[: BOX // 2]
        for each in (molecule.astype("f8"), turned.astype("f8"))
    ]
    assert power[1] == pytest.approx(power[0], rel=0.02)
    curve = fsc(molecule, turned)
    assert curve[:10] == pytest.approx(1, abs=1e-4)
    assert np.abs(curve[12:]).max() < 0.25
