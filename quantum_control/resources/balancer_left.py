"""What a process that is gone has left of a load balancer, to be put back whatever it was."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

from quantum_control.core.errors import SafetyError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.balancer import Balancer
from quantum_control.resources.custody import Custody


class LeftBehind(Resource):
    """A load balancer of which a snapshot is to be put back, and nothing else done.

    The weights that are left say nothing of who has set them: those that rested,
    or were out as sick, are 0, and there may be none above it. So there is no
    size that could be somebody else's.

    Parameters
    ----------
    balancer
        The balancer.
    """

    unit = "back ends"

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer

    def measure_state(self) -> ResourceState:
        """Look whether the weights can be read; raises `SensorError` if not."""
        self._balancer.read_weights()
        return ResourceState(nan)

    def apply_control(self, new_size: int) -> None:
        """Refuse: nothing is steered here; raises `SafetyError`."""
        raise SafetyError(f"{self._balancer!r} is not to be set to {new_size} back ends, but to be put back")

    def get_metrics(self) -> dict[str, float]:
        """None."""
        return {}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Put all of a snapshot back; errors as of `LoadBalancerResource.restore`."""
        self._balancer.recall(snapshot["balancer"])
        Custody(self._balancer).put_back(snapshot["weights"], snapshot["added"])
