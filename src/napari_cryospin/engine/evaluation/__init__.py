"""How good is it: FSC, map alignment, pose error."""
