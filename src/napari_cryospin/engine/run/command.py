"""A run as a command line, so that what was clicked can be repeated in a terminal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from napari_cryospin.engine.errors import InputError
from napari_cryospin.engine.flags import flags, opposite
from napari_cryospin.engine.runfolder import names
from napari_cryospin.engine.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


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
    for where, flag in flags().items():
        try:
            value, before = settings.get(where), said.get(where)
        except InputError:
            continue  # neither has such a stage
        if value == before or value is None or not said.knows(where):
            continue
        if isinstance(value, bool):
            words.append(flag if value else opposite(flag))
        else:
            words += [flag, str(value)]
        said.set(where, value)
    return said, words
