"""Asking before a run is ended or its files are removed."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QMessageBox

if TYPE_CHECKING:
    from pathlib import Path

    from qtpy.QtWidgets import QWidget


class Ending(Enum):
    """What becomes of a run whose window is to be closed."""

    KEEP = "Stop and keep"
    DISCARD = "Discard"
    GO_ON = "Go on"


def ask_ending(parent: QWidget, folder: Path | None, epochs: int) -> Ending:
    """Ask what becomes of the run under way, of which some epochs are done."""
    box = QMessageBox(parent)
    box.setObjectName("cryospin_closing")
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("A run is under way")
    box.setText("A reconstruction is under way: what becomes of it?")
    box.setInformativeText(
        f"{Ending.KEEP.value} writes its maps and poses in {folder}, and closes then; it can be "
        f"resumed. {Ending.DISCARD.value} removes {_written(epochs)}. {Ending.GO_ON.value} closes "
        "nothing."
    )
    roles = {
        Ending.KEEP: QMessageBox.ButtonRole.AcceptRole,
        Ending.DISCARD: QMessageBox.ButtonRole.DestructiveRole,
        Ending.GO_ON: QMessageBox.ButtonRole.RejectRole,
    }
    buttons = {ending: box.addButton(ending.value, role) for ending, role in roles.items()}
    box.setDefaultButton(buttons[Ending.KEEP])
    box.setEscapeButton(buttons[Ending.GO_ON])
    box.exec()
    clicked = box.clickedButton()
    # the box belongs to the window, which may stay for long
    box.deleteLater()
    return next((each for each, button in buttons.items() if button == clicked), Ending.GO_ON)


def ask_discard(parent: QWidget, folder: Path | None, epochs: int) -> bool:
    """Ask whether the run under way, of which some epochs are done, shall be removed."""
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent,
        "Discard this run?",
        f"This ends the run and removes {_written(epochs)} from {folder}. It cannot be undone.",
        buttons.Discard | buttons.Cancel,
        buttons.Cancel,
    )
    return bool(answer == buttons.Discard)


def ask_cancel(parent: QWidget, folder: Path | None) -> bool:
    """Ask whether the experiment under way shall end; all of it is kept."""
    buttons = QMessageBox.StandardButton
    answer = QMessageBox.question(
        parent,
        "An experiment is under way",
        f"Closing ends the experiment in {folder} after the present batch. All is kept: added to "
        "the queue again, or by napari-cryospin experiment, it goes on from there.",
        buttons.Close | buttons.Cancel,
        buttons.Close,
    )
    return bool(answer == buttons.Close)


def _written(epochs: int) -> str:
    """Return what a run has written, in words."""
    if epochs == 0:
        return "what the run has written"
    done = "its epoch" if epochs == 1 else f"its {epochs} epochs"
    return f"{done}, with all maps, poses and checkpoints,"
