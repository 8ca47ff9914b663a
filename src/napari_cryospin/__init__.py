"""napari-cryospin: live ab-initio cryo-EM reconstruction in napari.

The package itself imports nothing heavy: :mod:`napari_cryospin.engine` (numpy and torch) and
:mod:`napari_cryospin.gui` (Qt and napari) are loaded only when they are used.
"""

__version__ = "0.1.0"
