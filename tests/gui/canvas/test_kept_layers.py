"""What of ours stands on the canvas: nothing of the last run, and all again when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_cryospin.gui.canvas.layers import VOLUME, in_sigma

if TYPE_CHECKING:
    # of conftest.py
    Canvas = Any

NAMES = [
    VOLUME,
    "Posterior of particle 3",
    "Candidates",
    "Views by winning candidate",
    "Heads: mean loss",
    "Heads: numbers",
]

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture
def drawn(canvas: Canvas) -> Canvas:
    """Return a canvas with all layers, painted."""
    canvas.draw(0)
    canvas.paint()
    return canvas


def test_other_boxes_heads_and_resolutions_are_painted_without_a_new_layer(drawn: Canvas) -> None:
    made = list(drawn.viewer.layers)
    for seed, (box, heads, nside) in enumerate(((32, 7, 4), (12, 1, 1), (48, 15, 8), (16, 3, 2))):
        drawn.new_run()
        drawn.paint()
        drawn.draw(seed, box, heads, nside)
        drawn.paint()
        assert list(drawn.viewer.layers) == made
        assert drawn.visible() == NAMES
        assert len(drawn.viewer.layers["Candidates"].data) == heads


def test_nothing_of_the_last_run_is_seen_until_the_new_one_has_its_own(drawn: Canvas) -> None:
    hidden = drawn.viewer.layers["Views by winning candidate"]
    hidden.visible = False
    drawn.new_run()
    assert drawn.visible() == []
    assert drawn.spheres.posterior_shown, "it is computed for the new run"
    # the eye of the layer list shows nothing old, but is remembered
    hidden.visible = True
    assert not hidden.visible
    drawn.draw(1)
    assert drawn.visible() == NAMES
    hidden.visible = False
    drawn.new_run()
    drawn.draw(2)
    assert drawn.visible() == [name for name in NAMES if name != hidden.name]


def test_a_layer_that_is_hidden_over_two_runs_stays_hidden(drawn: Canvas) -> None:
    layers = drawn.viewer.layers
    layers["Posterior of particle 3"].visible = False
    drawn.new_run()
    drawn.new_run()
    assert not drawn.spheres.posterior_shown
    drawn.draw(1)
    assert "Posterior of particle 3" not in drawn.visible()
    layers["Posterior of particle 3"].visible = True
    assert "Posterior of particle 3" in drawn.visible()


def test_a_deleted_layer_is_brought_back_where_it_stood(drawn: Canvas) -> None:
    layers, camera = drawn.viewer.layers, drawn.viewer.scene.camera
    camera.angles, camera.zoom = (10, 20, 30), 3
    for name in NAMES:
        layers.remove(name)
        drawn.draw(1)
        assert name not in layers, "it stays away while the run goes on"
        drawn.spheres.bring_back()
        drawn.map.bring_back()
        assert [layer.name for layer in layers] == NAMES
        assert layers[name].visible
        drawn.paint()
        assert np.allclose(camera.angles, (10, 20, 30))
        assert camera.zoom == pytest.approx(3)
        drawn.draw(2)
        assert drawn.visible() == NAMES


def test_all_deleted_layers_come_back_with_what_was_drawn_last(
    drawn: Canvas,
) -> None:
    layers = drawn.viewer.layers
    layers.clear()
    drawn.paint()
    drawn.draw(1)
    assert len(layers) == 0
    drawn.map.bring_back()
    drawn.spheres.bring_back()
    assert {layer.name for layer in layers} == set(NAMES)
    volume = np.random.default_rng(1).normal(size=(16,) * 3).astype(np.float32)
    assert np.array_equal(layers[VOLUME].data, in_sigma(volume))
    drawn.paint()
    drawn.map.bring_back()
    assert len(layers) == len(NAMES)
