"""Control laws taken from quantum optomechanics."""
