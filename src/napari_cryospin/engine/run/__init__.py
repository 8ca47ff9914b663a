"""The reconstruction: stages, events, commands, the run folder."""
