"""A run as a command line, so that what was clicked can be repeated in a terminal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = {
    "data.passthrough": "--passthrough",
    "data.datadir": "--datadir",
    "data.voltage": "--voltage",
    "data.spherical_aberration": "--cs",
    "data.amplitude_contrast": "--amplitude-contrast",
    "data.pixel_size": "--pixel-size",
    "data.truth_star": "--truth-star",
    "data.truth_map": "--truth-map",
    "data.contrast": "--contrast",
    "data.box": "--box",
    "data.max_particles": "--max-particles",
    "model.heads": "--heads",
    "starts": "--starts",
    "amortized.epochs": "--epochs-encode",
    "marginal.epochs": "--epochs-marginal",
    "direct.epochs": "--epochs-decode",
    "device": "--device",
    "threads": "--threads",
    "seed": "--seed",
}


def command_line(settings: Settings, out: Path) -> str:
    """Return the ``napari-cryospin reconstruct`` line that repeats a run.

    Settings that have no option of their own are taken from the run's ``settings.toml``, and what
    was done by hand from its ``commands.jsonl``.

    Parameters
    ----------
    settings
        Settings of the run.
    out
        Its run folder; the line names a new one beside it.
    """
    words = ["napari-cryospin", "reconstruct", str(settings.data.stack)]
    words += ["--out", str(out.with_name(out.name + "-again"))]
    expressed, options = _options(settings)
    if expressed == settings:
        words += options
    else:
        words += ["--settings", str(out / names.SETTINGS)]
    if (out / names.COMMANDS).exists():
        words += ["--commands", str(out / names.COMMANDS)]
    return shlex.join(words)


def _options(settings: Settings) -> tuple[Settings, list[str]]:
    """Return what options can say of the settings, and the options."""
    try:
        said = Settings.from_preset(settings.preset)
    except InputError:
        said = Settings()
    words = ["--preset", said.preset]
    said.data.stack = settings.data.stack
    for where, flag in _FLAGS.items():
        try:
            value, before = settings.get(where), said.get(where)
        except InputError:
            continue  # neither has such a stage
        if value != before and value is not None:
            words += [flag, str(value)]
            said.set(where, value)
    if settings.model.shifts != said.model.shifts:
        words.append("--shifts" if settings.model.shifts else "--no-shifts")
        said.model.shifts = settings.model.shifts
    return said, words
