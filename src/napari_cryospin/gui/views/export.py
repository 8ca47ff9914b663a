"""Saving what a view shows: the figure (SVG, PNG) in publication size, the data (CSV)."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pyqtgraph as pg
from qtpy.QtCore import QRectF, QSize, Qt, Signal, Slot
from qtpy.QtGui import QImage, QPainter
from qtpy.QtSvg import QSvgGenerator
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QWidget

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.files import replacing
from napari_cryospin.engine.runfolder.protected import require_not_in_use
from napari_cryospin.gui.colours import print_colours
from napari_cryospin.gui.work.saving import ask_where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

# one column of most journals
WIDTH_MM = 90.0
_DPI = 300
_MM_PER_INCH = 25.4
_SVG_SIZE = re.compile(r'width="[\d.]+mm" height="[\d.]+mm"')


class Saveable(Protocol):
    """A view whose figure and data can be saved."""

    title: str

    def restyle(self) -> None:
        """Take the present colours of text and lines."""

    def graphics(self) -> list[pg.GraphicsView]:
        """Return what is drawn, from top to bottom."""

    def table(self) -> Mapping[str, NDArray[np.generic]]:
        """Return columns of equal length; their names carry units."""


def save_figure(view: Saveable, path: Path, width_mm: float = WIDTH_MM) -> None:
    """Write what a view shows as SVG or PNG (300 dpi), black on white.

    Parameters
    ----------
    view
        Its live scene is drawn, so that the figure is what the user sees.
    path
        Its suffix decides the format.
    width_mm
        Width of the figure, mm; the height follows.

    Raises
    ------
    InputError
        If the suffix is another one or the file cannot be written.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise InputError(f"{path.name}: figures are saved as .svg or .png.")
    try:
        with replacing(path) as temporary, print_colours():
            view.restyle()
            _draw(view, path.suffix.lower(), temporary, width_mm)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror}.") from error
    finally:
        view.restyle()


def save_data(view: Saveable, path: Path) -> None:
    """Write a view's data as CSV.

    Raises
    ------
    InputError
        If there is nothing to save yet, the suffix is another one or the file cannot be written.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(f"{path.name}: numbers are saved as .csv.")
    columns = view.table()
    if not columns or len(next(iter(columns.values()))) == 0:
        raise InputError("There is no data to save yet.")
    import pandas as pd

    try:
        with replacing(path) as temporary:
            pd.DataFrame(dict(columns)).to_csv(temporary, index=False, float_format="%.6g")
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror}.") from error


def _draw(view: Saveable, suffix: str, path: Path, width_mm: float) -> None:
    parts = [part for part in view.graphics() if part.isVisibleTo(part.window())]
    if not parts:
        raise InputError("There is no figure to save yet.")
    width = max(part.width() for part in parts)
    height = sum(part.height() for part in parts)
    if suffix == ".svg":
        _draw_svg(parts, path, width, height, width_mm)
    else:
        _draw_png(parts, path, width, height, width_mm)


def _draw_svg(
    parts: list[pg.GraphicsView], path: Path, width: int, height: int, width_mm: float
) -> None:
    device = QSvgGenerator()
    device.setFileName(str(path))
    # fonts have their size in points: the device must have the screen's resolution
    device.setResolution(parts[0].logicalDpiX())
    device.setSize(QSize(width, height))
    device.setViewBox(QRectF(0, 0, width, height))
    painter = QPainter(device)
    _render(painter, parts)
    painter.end()
    size = f'width="{width_mm:g}mm" height="{width_mm * height / width:g}mm"'
    text = path.read_text(encoding="utf-8")
    path.write_text(_SVG_SIZE.sub(size, text, count=1), encoding="utf-8")


def _draw_png(
    parts: list[pg.GraphicsView], path: Path, width: int, height: int, width_mm: float
) -> None:
    scale = width_mm / _MM_PER_INCH * _DPI / width
    image = QImage(round(width * scale), round(height * scale), QImage.Format.Format_RGB32)
    # fonts have their size in points: the device must have the screen's resolution
    image.setDotsPerMeterX(round(parts[0].logicalDpiX() / _MM_PER_INCH * 1000))
    image.setDotsPerMeterY(round(parts[0].logicalDpiY() / _MM_PER_INCH * 1000))
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(scale, scale)
    _render(painter, parts, scale)
    painter.end()
    image.setDotsPerMeterX(round(_DPI / _MM_PER_INCH * 1000))
    image.setDotsPerMeterY(round(_DPI / _MM_PER_INCH * 1000))
    if not image.save(str(path), "PNG"):
        raise OSError(0, "the image could not be encoded")


def _render(painter: QPainter, parts: list[pg.GraphicsView], scale: float = 1) -> None:
    top = 0
    for part in parts:
        target = QRectF(0, top, part.width(), part.height())
        with _exporting(part, painter, scale):
            # a PlotWidget's own viewRect is that of its data
            part.scene().render(painter, target, pg.GraphicsView.viewRect(part))
        top += part.height()


@contextmanager
def _exporting(part: pg.GraphicsView, painter: QPainter, scale: float) -> Iterator[None]:
    """Let symbols be drawn as shapes in the figure's scale, not copied from the screen."""
    items = [item for item in part.scene().items() if hasattr(item, "setExportMode")]
    options = {"antialias": True, "painter": painter, "resolutionScale": scale}
    for item in items:
        item.setExportMode(True, options)
    try:
        yield
    finally:
        for item in items:
            item.setExportMode(False)


class SaveButtons(QWidget):
    """Two buttons for a view; ``message`` carries a sentence for the user."""

    message = Signal(str)

    def __init__(self, view: Saveable, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self.figure, self.data = QToolButton(self), QToolButton(self)
        for button, text, tip in (
            (self.figure, "Figure…", "Save this view as a figure (PNG or SVG)"),
            (self.data, "Data…", "Save the numbers behind this view (CSV)"),
        ):
            button.setText(text)
            button.setToolTip(tip)
        self.figure.clicked.connect(self._on_figure)
        self.data.clicked.connect(self._on_data)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addStretch()
        layout.addWidget(self.figure)
        layout.addWidget(self.data)

    @Slot()
    def _on_figure(self) -> None:
        kinds = "PNG (*.png);;SVG (*.svg)"
        path = ask_where(self, "Save figure", self._suggested(".png"), kinds)
        if path is not None:
            self._save(save_figure, path)

    @Slot()
    def _on_data(self) -> None:
        path = ask_where(self, "Save data", self._suggested(".csv"), "Tables (*.csv)")
        if path is not None:
            self._save(save_data, path)

    def _suggested(self, suffix: str) -> str:
        return self._view.title.replace(" ", "_") + suffix

    def _save(self, save: Callable[[Saveable, Path], None], path: Path) -> None:
        try:
            require_not_in_use(path)
            save(self._view, path)
        except InputError as error:
            self.message.emit(str(error))
        else:
            self.message.emit(f"Saved {path}.")
