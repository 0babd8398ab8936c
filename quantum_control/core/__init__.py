"""Contracts and the control loop; imports nothing of the rest of the package."""
