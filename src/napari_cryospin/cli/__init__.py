"""The ``napari-cryospin`` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point of the package."""
    from napari_cryospin.cli.app import app

    app()
