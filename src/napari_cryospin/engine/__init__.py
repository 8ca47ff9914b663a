"""The reconstruction engine: numpy and torch only, no Qt, napari, vispy or magicgui.

The way of the data through the folders:
``data`` (particle stacks in) → ``geometry`` and ``models`` (what an image is) →
``inference`` (ways to get a pose) → ``run`` (stages, events, the run folder) →
``evaluation`` (how good is it). Settings and presets, which all of them read, lie beside them.
"""
