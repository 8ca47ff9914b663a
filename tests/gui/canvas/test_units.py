"""napari warns of units that do not agree: beside ours, it need not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mrcfile
import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from napari_cryospin.gui.canvas.layers import VOLUME

if TYPE_CHECKING:
    from pathlib import Path

    # of conftest.py
    Canvas = Any

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    notification_manager.records.clear()


def warned(canvas: Canvas) -> int:
    """Paint, and return how often napari has warned of units."""
    canvas.paint()
    told = (record.message for record in notification_manager.records)
    return sum("nconsistent units" in message for message in told)


def units(canvas: Canvas, name: str = VOLUME) -> list[str]:
    return [str(unit) for unit in canvas.viewer.layers[name].units]


def test_an_image_without_units_beside_ours_is_no_reason_to_warn(canvas: Canvas) -> None:
    viewer = canvas.viewer
    viewer.add_image(np.zeros((5, 8, 8)), name="before")
    canvas.draw(0)
    assert warned(canvas) == 0
    assert units(canvas) == ["pixel"] * 3
    viewer.layers.remove("before")
    assert units(canvas) == ["angstrom"] * 3
    image = viewer.add_image(np.zeros((8, 8)), name="after")
    assert units(canvas) == ["angstrom", "pixel", "pixel"]
    # napari looks before it tells of the layer; but then it is quiet
    assert warned(canvas) == 1
    notification_manager.records.clear()
    image.units = ("nm", "nm")
    assert units(canvas) == ["angstrom"] * 3
    canvas.new_run()
    canvas.draw(1)
    assert warned(canvas) == 0


def test_files_beside_a_run_are_no_reason_to_warn(canvas: Canvas, tmp_path: Path) -> None:
    for name in ("a.mrcs", "map.mrc"):
        with mrcfile.new(tmp_path / name) as mrc:
            mrc.set_data(np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32))
            mrc.voxel_size = 2.5
    viewer = canvas.viewer
    viewer.open(tmp_path / "a.mrcs", plugin="napari-cryospin")
    canvas.draw(0)
    viewer.open(tmp_path / "map.mrc", plugin="napari-cryospin")
    assert len({tuple(layer.units) for layer in viewer.layers}) == 1
    assert units(canvas) == ["angstrom"] * 3
    assert warned(canvas) == 0
    viewer.layers.clear()
    viewer.add_points(np.zeros((1, 3)))
    viewer.open(tmp_path / "a.mrcs", plugin="napari-cryospin")
    assert units(canvas, "a.mrcs") == ["pixel"] * 3
    assert warned(canvas) == 0
