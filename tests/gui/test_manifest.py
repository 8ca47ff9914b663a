from __future__ import annotations

from importlib import import_module

import pytest
from npe2 import PluginManifest

from napari_cryospin.gui.reader import MAPS


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-cryospin")


def test_the_manifest_names_what_exists(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(import_module(module), name))


def test_the_manifest_offers_dock_readers_and_sample(manifest: PluginManifest) -> None:
    contributions = manifest.contributions
    assert [widget.display_name for widget in contributions.widgets] == ["cryoSPIN"]
    (reader,) = contributions.readers
    assert reader.accepts_directories
    # never every MRC file: other plugins read those
    assert set(reader.filename_patterns) == {"*.star", "*.cs", "*.mrcs", *MAPS}
    assert "*.mrc" not in reader.filename_patterns
    assert [sample.key for sample in contributions.sample_data] == ["synthetic-stack"]
