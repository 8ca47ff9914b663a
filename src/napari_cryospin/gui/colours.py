"""Colours that several views share: one per head and one per class, everywhere the same."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtGui import QColor, QPalette

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_cryospin.engine.stages import Inference

# Okabe and Ito's colours without black, then Tol's "muted": 15 that colour-blind eyes keep apart
_HEADS = (
    "#E69F00 #56B4E9 #009E73 #F0E442 #0072B2 #D55E00 #CC79A7 "
    "#88CCEE #882255 #999933 #332288 #DDCC77 #44AA99 #AA4499 #CC6677"
).split()
# Tol's "bright" and "light", as many as there may be classes
_CLASSES = (
    "#4477AA #EE6677 #228833 #CCBB44 #66CCEE #AA3377 #EE8866 #44BB99 #BBCC33 #99DDFF"
).split()
UNSEEN = "#707070"
COLOURMAP = "magma"
# the stages, where they are drawn over the colour map
ENCODING, DECODING = "#56B4E9", "#00C896"
_STAGES = (ENCODING, DECODING, "#E69F00")


def head_colour(head: int) -> str:
    """Return the colour ``#rrggbb`` of a head (index from 0); grey for −1, not seen yet."""
    return UNSEEN if head < 0 else _HEADS[head % len(_HEADS)]


def stage_colour(inference: Inference) -> str:
    """Return the colour ``#rrggbb`` of an inference, by its number in records."""
    known = inference.code < len(_STAGES)
    return _STAGES[inference.code] if known else head_colour(inference.code + 2)


def class_colour(number: int) -> str:
    """Return the colour ``#rrggbb`` of a class (from 0): other ones than the first heads have."""
    return _CLASSES[number % len(_CLASSES)]


def class_label(number: int) -> str:
    """Return the number by which a class (from 0) is shown, as files have it."""
    return str(number + 1)


def head_label(head: int) -> str:
    """Return the number by which a head (index from 0) is shown; people count from 1."""
    return str(head + 1)


def head_colours(heads: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return RGBA colours in 0..1, shape (n, 4), of heads, shape (n,)."""
    names = [UNSEEN, *_HEADS]
    rgba = np.array([QColor(name).getRgbF() for name in names], dtype=np.float32)
    return rgba[np.where(heads < 0, 0, heads % len(_HEADS) + 1)]


def text_on(colour: str) -> str:
    """Return black or white, whichever is read better on a colour."""
    return "#000000" if QColor(colour).lightness() > 90 else "#ffffff"


_printing = False


@contextmanager
def print_colours() -> Iterator[None]:
    """Let text and lines be black, for a figure on white paper."""
    global _printing
    _printing = True
    try:
        yield
    finally:
        _printing = False


def foreground(widget: QWidget) -> QColor:
    """Return the text colour that the theme gives a widget."""
    if _printing:
        return QColor("black")
    return widget.palette().color(QPalette.ColorRole.WindowText)


def faint(widget: QWidget, alpha: int = 70) -> QColor:
    """Return a widget's text colour, mostly transparent, for grids and frames."""
    # on paper a grid lies on dark maps as well as on white
    colour = QColor("#808080") if _printing else foreground(widget)
    colour.setAlpha(alpha)
    return colour
