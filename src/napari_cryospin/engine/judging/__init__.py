"""What is said of a result: held-out evidence, confidence, misfit and its causes, the switch."""
