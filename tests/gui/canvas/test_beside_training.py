"""The canvas beside training: new layers come one by one, and a processor draws in a hurry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pint
import pytest
from napari.components import ViewerModel
from pint.registry import LazyRegistry
from qtpy.QtCore import QTimer
from vispy.gloo import gl

from napari_cryospin.engine.events import VolumeUpdated
from napari_cryospin.engine.stages import Inference
from napari_cryospin.gui.canvas import rays
from napari_cryospin.gui.canvas.behind import canvas_of
from napari_cryospin.gui.canvas.layers import VOLUME, VolumeLayer
from napari_cryospin.gui.canvas.units import _use_definitions
from napari_cryospin.gui.explorer.state import Explorer
from napari_cryospin.gui.work.states import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

    from napari_cryospin.gui.work.session import Session

    # of conftest.py
    Canvas = Any

ALL, LONG = 6, 60_000


def a_map(box: int = 8) -> VolumeUpdated:
    volume = np.random.default_rng(0).normal(size=(box,) * 3).astype(np.float32)
    return VolumeUpdated(0, Inference.AMORTIZED, volume, 4.0)


def test_new_layers_come_one_after_the_other(qtbot: QtBot, canvas: Canvas) -> None:
    """Or the window stands still for all of them at once.

    To make one takes as long as to draw the canvas, and so does to make the pictures of digits.
    """
    layers, shown = canvas.viewer.layers, canvas_of(canvas.viewer)
    font = shown.font_info()
    glyphs = font.font_manager.get_font(font.face)._glyphs
    drawn, between, ready = list[int](), list[int](), list[set[str]]()
    shown._scene_canvas.events.draw.connect(lambda _: drawn.append(len(layers)))

    def on_inserted(_event: object) -> None:
        before = len(drawn)
        QTimer.singleShot(0, lambda: between.append(len(drawn) - before))
        ready.append({*glyphs})

    layers.events.inserted.connect(on_inserted)
    canvas.draw(0)
    assert len(layers) == 0
    qtbot.waitUntil(lambda: len(canvas.visible()) == len(between) == ALL, timeout=LONG)
    assert set(drawn) >= set(range(2, ALL)), "the canvas was drawn in between"
    assert between == [0] * ALL, "but not in the turn that makes a layer"
    assert ready[-1] == {*glyphs} >= {*"123"}, "no digit was left to the drawing"
    seen = len(drawn)
    qtbot.waitUntil(lambda: len(drawn) > seen, timeout=LONG)


def test_what_is_still_to_come_is_of_this_run_and_comes_as_it_is_by_then(
    qtbot: QtBot, canvas: Canvas
) -> None:
    canvas.draw(0, heads=3)
    canvas.draw(1, heads=2)
    qtbot.waitUntil(lambda: len(canvas.visible()) == ALL, timeout=LONG)
    assert len(canvas.viewer.layers["Candidates"].data) == 2
    canvas.viewer.layers.clear()
    canvas.new_run()
    canvas.draw(2)
    canvas.new_run()
    qtbot.waitUntil(lambda: canvas.visible() == [VOLUME], timeout=LONG)
    qtbot.wait(500)
    assert canvas.visible() == [VOLUME]
    assert not canvas.map.layer.data.any(), "nothing has come of this run"


@pytest.mark.parametrize("other", [True, False])
def test_the_maps_layer_is_there_before_its_first_map(
    session: Session, at_once: None, other: bool
) -> None:
    viewer, explorer = ViewerModel(), Explorer(session)
    if other:
        viewer.add_image(np.zeros((8, 8)))
    first = VolumeLayer(session, explorer, viewer)
    session.run_started.emit(None)
    layer = first.layer
    assert layer is not None
    assert not layer.data.any()
    assert viewer.dims.ndisplay == (2 if other else 3), "an image that is looked at stays so"
    # a dock that is closed and opened again before the map has come
    again = VolumeLayer(session, explorer, viewer)
    session.run_started.emit(None)
    session.volume_updated.emit(a_map())
    assert again.layer is layer
    assert layer.visible
    assert viewer.dims.ndisplay == 3
    assert viewer.layers[VOLUME].data.shape == (8, 8, 8)
    assert tuple(viewer.scene.camera.center) == (16, 16, 16), "fitted to the map"


def test_a_layer_that_is_deleted_before_its_first_map_stays_away(
    session: Session, at_once: None
) -> None:
    viewer, explorer = ViewerModel(), Explorer(session)
    layer = VolumeLayer(session, explorer, viewer)
    session.run_started.emit(None)
    viewer.layers.clear()
    session.volume_updated.emit(a_map())
    assert len(viewer.layers) == 0
    layer.bring_back()
    assert viewer.layers[VOLUME].visible
    assert viewer.layers[VOLUME].data.any(), "the map that came meanwhile"


@pytest.mark.parametrize(
    ("n_voxels", "step"), [(8, rays.FINE_STEP), (32, 2.0), (64, 4.0), (128, 6.0), (256, 6.0)]
)
def test_steps_grow_with_the_map(n_voxels: int, step: float) -> None:
    assert rays.coarse_step(n_voxels) == pytest.approx(step)


@pytest.mark.parametrize(
    ("renderer", "expected"),
    [
        ("llvmpipe (LLVM 15.0.6, 256 bits)", True),
        ("Microsoft Basic Render Driver", True),
        ("NVIDIA RTX A4000/PCIe/SSE2", False),
        ("Mesa Intel(R) UHD Graphics 620", False),
        ("Apple M2", False),
    ],
)
def test_a_processor_is_told_from_a_gpu(renderer: str, expected: bool) -> None:
    assert rays.is_drawn_by_a_processor(renderer) == expected


@pytest.mark.parametrize("processor", [True, False])
def test_rays_take_long_steps_while_a_run_is_under_way(
    canvas: Canvas,
    session: Session,
    at_once: None,
    monkeypatch: pytest.MonkeyPatch,
    processor: bool,
) -> None:
    told = ["llvmpipe" if processor else "GeForce"]
    monkeypatch.setattr(rays.gl, "glGetParameter", lambda name: told * (name == gl.GL_RENDERER))
    active = [True]
    monkeypatch.setattr(type(session), "active", property(lambda _: active[0]))

    def step() -> float:
        visual = canvas.viewer.window._qt_viewer.canvas.layer_to_visual[canvas.map.layer]
        return float(visual.node.relative_step_size)

    session.volume_updated.emit(a_map(32))
    assert step() == (rays.coarse_step(32) if processor else rays.FINE_STEP)
    active[0] = False
    session.state_changed.emit(SessionState.FINISHED)
    assert step() == rays.FINE_STEP


@pytest.fixture
def registry() -> Iterator[Any]:
    """What all units are of; put back after the test."""
    holder = pint.get_application_registry()
    before = holder.get()
    yield holder
    holder.set(before)


def test_the_definitions_of_units_are_used_where_there_are_none_yet(registry: Any) -> None:
    lazy = LazyRegistry()
    registry.set(lazy)
    loaded = pint.UnitRegistry()
    _use_definitions(loaded)
    assert registry.get() is loaded
    # units of two registries do not mix
    _use_definitions(pint.UnitRegistry())
    assert registry.get() is loaded
