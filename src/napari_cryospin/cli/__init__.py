"""The ``napari-cryospin`` command."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; the entry point of the package."""
    from napari_cryospin.cli.app import app

    # what a redirected output cannot hold (on Windows: arrows, minus signs) must not end a run
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    app()
