"""Boxes of a canvas that show an image each, row 0 at the top, and leave the mouse alone."""

from __future__ import annotations

import pyqtgraph as pg


def add_image_box(canvas: pg.GraphicsLayoutWidget, row: int, column: int) -> pg.ViewBox:
    """Return a new box for an image at a place of a canvas."""
    return canvas.addViewBox(
        row=row,
        col=column,
        lockAspect=True,
        enableMouse=False,
        enableMenu=False,
        invertY=True,
        defaultPadding=0,
    )


def image_in(box: pg.ViewBox) -> pg.ImageItem:
    """Return a new, empty image in a box."""
    item = pg.ImageItem(axisOrder="row-major")
    box.addItem(item)
    return item
