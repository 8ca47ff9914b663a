"""The spheres: drawn in place, each where it belongs, and only what is true of the present run."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_cryospin.gui.canvas.glass import glass_colours, lookup_table
from napari_cryospin.gui.canvas.head_spheres import cell_colours
from napari_cryospin.gui.canvas.sphere_layers import PosteriorOnSphere, SphereLayers
from napari_cryospin.gui.canvas.spheres import SHOWN

pytestmark = pytest.mark.usefixtures("at_once")


@pytest.fixture
def spheres() -> tuple[ViewerModel, SphereLayers]:
    viewer = ViewerModel()
    viewer.dims.ndisplay = 3
    layers = SphereLayers(viewer)
    layers.set_box(32, 4.0)
    return viewer, layers


def posterior(nside: int) -> PosteriorOnSphere:
    values = np.linspace(-6, 0, 12 * nside**2, dtype=np.float32)
    return PosteriorOnSphere(7, nside, values, (-6, 0))


def test_glass_is_clear_without_mass_and_shows_the_far_side_faintly() -> None:
    table = lookup_table(np.ones((256, 4)))
    values, facing = np.array([-6.0, 0, 0, -6]), np.array([1.0, 1, -1, 0])
    clear, near, far, edge = glass_colours(values, (-6, 0), facing, table)[:, 3]
    assert 0 < clear < 0.1 < far < 0.6 < near
    assert near == 1
    assert edge > 2 * clear


def test_the_posterior_is_clear_and_follows_contrast_and_resolution(
    spheres: tuple[ViewerModel, SphereLayers],
) -> None:
    viewer, layers = spheres
    for nside in (2, 4, 1):
        layers.show_posterior(posterior(nside))
        (layer,) = viewer.layers
        assert layer.vertex_colors.shape == (48 * nside**2, 4)
        assert layer.data[2].max() == 0
    before = layer.vertex_colors.copy()
    layer.contrast_limits = (-6, -3)
    assert layer.vertex_colors[:, 3].sum() > before[:, 3].sum()
    layers.show_posterior(posterior(1))
    assert tuple(layer.contrast_limits) == (-6, -3)


def test_candidates_go_where_there_are_none(spheres: tuple[ViewerModel, SphereLayers]) -> None:
    """As when auto-decoding with a single hypothesis follows auto-encoding."""
    viewer, layers = spheres
    layers.show_posterior(posterior(1))
    layers.show_candidates(np.eye(3), 1)
    assert len(viewer.layers["Candidates"].data) == 3
    layers.show_candidates(np.empty((0, 3)), -1)
    assert not viewer.layers["Candidates"].visible
    layers.show_candidates(np.eye(3)[:2], 0)
    assert viewer.layers["Candidates"].visible
    assert len(viewer.layers["Candidates"].data) == 2
    # what the user hides stays hidden
    viewer.layers["Candidates"].visible = False
    layers.show_candidates(np.empty((0, 3)), -1)
    layers.show_candidates(np.eye(3), 0)
    assert not viewer.layers["Candidates"].visible


def test_spheres_stay_at_their_side_of_the_volume(
    spheres: tuple[ViewerModel, SphereLayers],
) -> None:
    viewer, layers = spheres
    layers.show_posterior(posterior(1))
    layers.show_candidates(np.eye(3), 1)
    layers.show_head_cells(np.ones((3, 12)), 1, "mean loss")
    home = viewer.layers.extent.world.copy()
    # inside what the canvas shows of the map
    assert np.allclose(home[1, 1:], 64 + 128 * SHOWN, rtol=0.02)
    first = viewer.layers[0].vertices.mean(axis=0)
    assert first[1] == pytest.approx(first[2])
    viewer.scene.camera.angles = (0, 90, 0)
    middle = viewer.layers[0].vertices.mean(axis=0)
    aside = first[2] - 64
    assert np.allclose(np.abs(middle - 64), (aside, aside, 0), atol=1e-3)
    viewer.reset_view()
    assert np.allclose(viewer.layers.extent.world, home, atol=1e-3)


def test_empty_cells_are_grey_and_outliers_do_not_stretch_the_colours() -> None:
    values = np.linspace(0, 1, 200)
    values[0], values[1] = np.nan, 1e6
    colours = cell_colours(values)
    assert np.ptp(colours[0, :3]) == 0
    assert not np.allclose(colours[2], colours[100], atol=0.2)
    assert (cell_colours(np.full(3, np.nan)) == colours[0]).all()


def test_heads_have_one_layer_of_spheres_that_is_made_when_asked(
    spheres: tuple[ViewerModel, SphereLayers],
) -> None:
    viewer, layers = spheres
    layers.hide_head_cells()
    assert len(viewer.layers) == 0
    layers.show_head_cells(np.ones((7, 12)), 1, "mean loss")
    cells, numbers = viewer.layers
    assert cells.name == "Heads: mean loss"
    for heads, nside in ((9, 1), (9, 2), (3, 2)):
        layers.show_head_cells(np.ones((heads, 12 * nside**2)), nside, "mean loss")
        assert len(cells.vertices) == len(cells.vertex_colors) == 48 * nside**2 * heads
        assert (len(numbers.data), cells.faces.max()) == (heads, len(cells.vertices) - 1)
    assert list(numbers.text.values) == ["1", "2", "3"]
    assert list(viewer.layers) == [cells, numbers]


def test_hidden_heads_are_drawn_when_they_are_shown_again(
    spheres: tuple[ViewerModel, SphereLayers],
) -> None:
    viewer, layers = spheres
    layers.show_head_cells(np.arange(24.0).reshape(2, 12), 1, "mean loss")
    cells, numbers = viewer.layers
    layers.hide_head_cells()
    assert (cells.visible, numbers.visible) == (False, False)
    layers.show_head_cells(np.arange(24.0).reshape(2, 12), 1, "mean loss")
    assert (cells.visible, numbers.visible) == (True, True)
    cells.visible = False
    assert not numbers.visible
    before = cells.vertex_colors
    layers.show_head_cells(np.arange(24.0)[::-1].reshape(2, 12), 1, "mean loss")
    assert cells.vertex_colors is before
    cells.visible = True
    assert numbers.visible
    assert not np.array_equal(cells.vertex_colors, before)
    viewer.layers.remove(cells)
    layers.show_head_cells(np.ones((2, 12)), 1, "mean loss")
    assert list(viewer.layers) == [numbers]
    assert not numbers.visible
    layers.new_run()
    layers.show_head_cells(np.ones((2, 12)), 1, "mean loss")
    assert len(viewer.layers) == 2
    assert numbers.visible
