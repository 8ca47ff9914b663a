"""The reconstruction engine: numpy and torch only, no Qt, napari, vispy or magicgui.

The way of the data through the folders:
``data`` (particle stacks in) → ``geometry`` and ``models`` (what an image is) →
``inference`` (ways to get a pose) → ``run`` (stages, events, the run folder) →
``evaluation`` (how good is it). Settings and presets, which all of them read, lie beside them.
"""

import os

# Torch's threads otherwise spin while they wait for each other: two runs on one machine, or a run
# beside any other work, then slow each other many times over. It is read as torch is first loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
