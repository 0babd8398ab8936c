"""Settings that all tests share."""

from hypothesis import settings

# No deadline: a busy machine is not a defect. Derandomised: a run that passed passes again.
settings.register_profile("quantum_control", deadline=None, derandomize=True)
settings.load_profile("quantum_control")
