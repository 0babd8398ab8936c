"""The laws we compare with, each faithful to its published form; see docs/peers.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.simulation.peers.aimd import AimdLimit, AimdPool
from quantum_control.simulation.peers.base import Peer
from quantum_control.simulation.peers.bounds import foresight, known_intensity
from quantum_control.simulation.peers.ewma import Ewma, EwmaWithBacklog
from quantum_control.simulation.peers.fixed import Fixed, best_fixed
from quantum_control.simulation.peers.gradient2 import Gradient2Limit
from quantum_control.simulation.peers.hill_climbing import HillClimbing
from quantum_control.simulation.peers.holt import Holt
from quantum_control.simulation.peers.holt_winters import HoltWinters
from quantum_control.simulation.peers.hpa import Hpa
from quantum_control.simulation.peers.kpa import Kpa
from quantum_control.simulation.peers.pid import Pid
from quantum_control.simulation.peers.vegas import VegasLimit

__all__ = [
    "LIMITERS",
    "PROVISIONERS",
    "AimdLimit",
    "AimdPool",
    "Ewma",
    "EwmaWithBacklog",
    "Fixed",
    "Gradient2Limit",
    "HillClimbing",
    "Holt",
    "HoltWinters",
    "Hpa",
    "Kpa",
    "Peer",
    "Pid",
    "VegasLimit",
    "best_fixed",
    "foresight",
    "known_intensity",
    "peer",
]


def _eager_hpa() -> Peer:
    """HPA evaluated in every interval and without its five minutes: what is left is the rule."""
    hpa = Hpa(sync_seconds=0.0, stabilisation_seconds=0.0)
    hpa.name = "hpa_eager"
    return hpa


PROVISIONERS: Mapping[str, Callable[[], Peer]] = MappingProxyType(
    {
        "hpa": Hpa,
        "hpa_eager": _eager_hpa,
        "kpa": Kpa,
        "aimd": AimdPool,
        "pid": Pid,
        "ewma": Ewma,
        "ewma_with_backlog": EwmaWithBacklog,
        "holt": Holt,
    }
)
"""Laws that size what serves a demand, each a factory of a fresh law; they fit every plant with a
queue. `HoltWinters` is not among them, because it must be told the period."""

LIMITERS: Mapping[str, Callable[[], Peer]] = MappingProxyType(
    {
        "aimd_limit": lambda: AimdLimit(smallest=1.0, largest=inf),
        "vegas": lambda: VegasLimit(largest=inf),
        "gradient2": lambda: Gradient2Limit(smallest=1.0, largest=inf),
        "hill_climbing": HillClimbing,
    }
)
"""Laws that protect what is limited (`TimeoutServer`, `UslPool`), their own bounds opened so that
the plant's apply. On a plain queue, where the size is the capacity, they answer another question."""


def peer(name: str) -> Peer:
    """Make a fresh law by its name in `PROVISIONERS` or `LIMITERS`."""
    known = {**PROVISIONERS, **LIMITERS}
    if name not in known:
        raise ConfigError(unknown_name("peer", name, known))
    return known[name]()
