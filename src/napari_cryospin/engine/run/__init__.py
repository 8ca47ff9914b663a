"""The reconstruction: settings and presets, stages, events, commands, the run folder."""
