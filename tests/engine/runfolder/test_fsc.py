"""The file of Fourier shell correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_cryospin.engine.runfolder.folder import RunFolder
from napari_cryospin.engine.runfolder.fsc import FREQUENCY, HALVES, TRUTH

if TYPE_CHECKING:
    from pathlib import Path


def test_curves_come_back_by_their_names(tmp_path: Path) -> None:
    run, halves, truth = RunFolder(tmp_path), np.linspace(1, 0.1, 17), np.linspace(1, 0, 17)
    run.write_fsc({HALVES: halves, TRUTH: truth}, 4.0)
    found = run.fsc()
    assert set(found) == {FREQUENCY, HALVES, TRUTH}
    # the last shell is at two pixels
    np.testing.assert_allclose(found[FREQUENCY], np.arange(17) / 16 / 8, rtol=1e-5)
    np.testing.assert_allclose(found[HALVES], halves, rtol=1e-5)
    np.testing.assert_allclose(found[TRUTH], truth, rtol=1e-5)


@pytest.mark.parametrize(
    "text", [None, "", "one,two\n1,2\n", "frequency_per_angstrom,fsc\n0.1\n", "\x00\n"]
)
def test_another_file_has_no_curves(tmp_path: Path, text: str | None) -> None:
    run = RunFolder(tmp_path)
    if text is not None:
        run.fsc_path.write_text(text)
    assert run.fsc() == {}
