"""Whether images that do not belong to a map show another structure, or are junk."""

from __future__ import annotations

import pytest
import torch

from napari_cryospin.engine.judging.causes import Findings
from napari_cryospin.engine.judging.mates import Mates
from napari_cryospin.engine.judging.misfit import Misfit
from napari_cryospin.engine.judging.others import Others
from napari_cryospin.engine.runfolder.verdict import Cause

NOTHING = torch.zeros(10)
GOOD = Misfit(0.01, 0.0, NOTHING, torch.ones(10), NOTHING)


@pytest.mark.parametrize(
    ("explained", "gain", "cause"),
    [
        (0.9, 20.0, Cause.SEVERAL_STRUCTURES),
        (0.1, 20.0, Cause.OUTLIERS),
        (0.9, 1.0, Cause.OUTLIERS),
    ],
)
def test_who_does_not_belong_is_another_structure_or_junk(
    explained: float, gain: float, cause: Cause
) -> None:
    found = Findings(GOOD, None, Mates.none(), None, 0.4, Others(explained, gain, 1.0))
    assert found.cause is cause
    if cause is Cause.SEVERAL_STRUCTURES:
        assert found.shares == pytest.approx((0.64, 0.36))
