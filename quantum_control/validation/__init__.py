"""Randomised switchback experiments on the real parts, and what they say: `quantum-control validate`."""
