"""Asking where to save, so that no file is replaced that the user did not mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QMessageBox

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


def ask_where(parent: QWidget, title: str, suggested: str, kinds: str) -> Path | None:
    """Return the file that the user chose to save to, or None.

    The dialog asks before it gives the name of a file that is there. Where the suffix was left out
    it is added here, and the same is asked of the longer name.

    Parameters
    ----------
    parent
        Widget that the dialog belongs to.
    title
        Title of the dialog.
    suggested
        Name that it begins with.
    kinds
        Kinds of files, such as ``"PNG (*.png);;SVG (*.svg)"``; the chosen one gives the suffix.
    """
    name, chosen = QFileDialog.getSaveFileName(parent, title, suggested, kinds)
    if not name:
        return None
    path = Path(name)
    if path.suffix:
        return path
    path = path.with_name(path.name + _suffix(chosen or kinds))
    if path.exists() and not _may_replace(parent, title, path):
        return None
    return path


def _suffix(kind: str) -> str:
    """Return the first suffix of a kind of files: ``.png`` of ``"PNG (*.png)"``."""
    return kind.partition("(*")[2].replace(" ", ")").partition(")")[0]


def _may_replace(parent: QWidget, title: str, path: Path) -> bool:
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent,
        title,
        f"{path} is there already. Replace it?",
        buttons.Yes | buttons.No,
        buttons.No,
    )
    return bool(answer == buttons.Yes)
