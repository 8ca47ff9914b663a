from __future__ import annotations

import numpy as np
import pytest

from napari_cryospin.engine.data.molecule import procedural_molecule
from napari_cryospin.engine.evaluation.fsc import crossing_shell, fsc, resolution


def test_fsc_of_a_map_with_itself_and_with_noise() -> None:
    volume, noise = procedural_molecule(32, 4.0), np.random.default_rng(1).normal(size=(32,) * 3)
    assert np.allclose(fsc(volume, 3 * volume), 1)
    assert abs(fsc(noise, volume)[4:]).max() < 0.3
    with pytest.raises(ValueError, match="one shape"):
        fsc(volume, volume[:16, :16, :16])


def test_resolution_is_where_the_curve_first_falls() -> None:
    curve = [1, 1, 0.9, 0.7, 0.3, 0.6, 0.1]
    assert crossing_shell(curve, 0.5) == pytest.approx(3.5)
    # 6 shells to Nyquist at 2 Å per pixel: shell 3.5 is at 2·6·2/3.5 Å
    assert resolution(curve, 2.0, 0.5) == pytest.approx(24 / 3.5)
    assert resolution(np.ones(7), 2.0, 0.5) == 4.0
