"""How far apart a map is read along the rays that draw it.

Without a GPU the processor follows the rays, one for every pixel of the canvas: drawing a map of
128 voxels once takes it a second, in which the window stands still and training waits. While a run
needs the processor, the rays then take longer steps.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vispy.gloo import gl

from napari_cryospin.gui.canvas.behind import canvas_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

# in voxels
FINE_STEP, _LONGEST_STEP = 0.8, 6.0
# of a ray along an edge of the map
_COARSE_STEPS = 16
# what Mesa, Chromium's and Windows' own drawing by the processor call themselves
_PROCESSORS = ("llvmpipe", "softpipe", "swiftshader", "gdi generic", "basic render")


def coarse_step(n_voxels: int) -> float:
    """Return the step, in voxels, with which a map of this edge is drawn fast."""
    return min(max(n_voxels / _COARSE_STEPS, FINE_STEP), _LONGEST_STEP)


def is_drawn_by_a_processor(renderer: str) -> bool:
    """Return whether OpenGL's name of what draws is that of a program, not of a GPU."""
    return any(name in renderer.lower() for name in _PROCESSORS)


def choose_steps(viewer: ViewerModel, layer: Image, *, hurried: bool) -> None:
    """Let the rays through a map take long steps where a processor draws, else fine ones.

    napari has no setting for this: where its canvas is not as expected, the steps stay as they are.
    """
    with suppress(AttributeError, KeyError):
        canvas = canvas_of(viewer)
        node = canvas.layer_to_visual[layer]._layer_node.get_node(3)
        step = coarse_step(layer.data.shape[0]) if hurried and _draws_slowly(canvas) else FINE_STEP
        if node.relative_step_size != step:
            node.relative_step_size = step


def _draws_slowly(canvas: Any) -> bool:
    canvas._scene_canvas.set_current()
    return is_drawn_by_a_processor(str(gl.glGetParameter(gl.GL_RENDERER)))
