"""The rows of ``metrics.csv``: what they say of the heads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_cryospin.engine.events import EpochDone
from napari_cryospin.engine.runfolder.metrics import row_of
from napari_cryospin.engine.stages import Inference

DONE = EpochDone(
    epoch=3,
    inference=Inference.AMORTIZED,
    loss=1.0,
    head_share=(0.5, 0.5, 0.0, 0.0),
    stage=0,
    start=0,
    held_out_gain=None,
    switch=None,
    median_pose_error=None,
    mean_pose_error=None,
    resolution=None,
    seconds=1.0,
)


@pytest.mark.parametrize(
    ("share", "number"),
    [((0.5, 0.5, 0.0, 0.0), 2), ((1.0, 0.0, 0.0), 1), ((0.25,) * 4, 4), ((0.9, 0.1), 1.384)],
)
def test_effective_number_of_heads(share: tuple[float, ...], number: float) -> None:
    assert replace(DONE, head_share=share).effective_heads == pytest.approx(number, abs=1e-3)


def test_without_heads_there_is_no_number_of_them() -> None:
    assert replace(DONE, inference=Inference.DIRECT).effective_heads is None
    # no particle has been seen yet
    assert replace(DONE, head_share=(0.0, 0.0)).effective_heads is None


def test_the_table_has_the_effective_number() -> None:
    assert float(row_of(DONE)["effective_heads"]) == pytest.approx(2)
    assert row_of(replace(DONE, inference=Inference.DIRECT))["effective_heads"] == ""
