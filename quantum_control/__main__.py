"""`python -m quantum_control` is `quantum-control`."""

from quantum_control.cli import run

run()
