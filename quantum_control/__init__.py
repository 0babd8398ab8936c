"""Adaptive sizing of infrastructure: one controller for any resource, laws from quantum optomechanics."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantum_control.core.controller import QuantumController
    from quantum_control.core.decision import Decision, Outcome
    from quantum_control.core.errors import (
        ActuatorError,
        ConfigError,
        LifecycleError,
        QuantumControlError,
        SafetyError,
        SensorError,
    )
    from quantum_control.core.physics import Objective, PhysicsModel
    from quantum_control.core.resource import Resource, ResourceState
    from quantum_control.core.safety import GuardSettings
    from quantum_control.resources.adaptive import AdaptiveThreadPoolExecutor
    from quantum_control.resources.buffer import BufferResource
    from quantum_control.resources.connections import ConnectionPoolResource
    from quantum_control.resources.executor import ResizableThreadPoolExecutor
    from quantum_control.resources.gunicorn import GunicornResource
    from quantum_control.resources.limiter import AsyncLimiter
    from quantum_control.resources.loadbalancer import LoadBalancerResource
    from quantum_control.resources.memory import MemoryResource
    from quantum_control.resources.threads import ThreadPoolResource, register_pool, unregister_pool

__version__ = "0.1.0"

# Loaded when first used, so that importing the package costs little and pulls in no server's client.
_HOME = {
    "ActuatorError": "core.errors",
    "AdaptiveThreadPoolExecutor": "resources.adaptive",
    "AsyncLimiter": "resources.limiter",
    "BufferResource": "resources.buffer",
    "ConfigError": "core.errors",
    "ConnectionPoolResource": "resources.connections",
    "Decision": "core.decision",
    "GuardSettings": "core.safety",
    "GunicornResource": "resources.gunicorn",
    "LifecycleError": "core.errors",
    "LoadBalancerResource": "resources.loadbalancer",
    "MemoryResource": "resources.memory",
    "Objective": "core.physics",
    "Outcome": "core.decision",
    "PhysicsModel": "core.physics",
    "QuantumControlError": "core.errors",
    "QuantumController": "core.controller",
    "ResizableThreadPoolExecutor": "resources.executor",
    "Resource": "core.resource",
    "ResourceState": "core.resource",
    "SafetyError": "core.errors",
    "SensorError": "core.errors",
    "ThreadPoolResource": "resources.threads",
    "register_pool": "resources.threads",
    "unregister_pool": "resources.threads",
}

__all__ = [
    "ActuatorError",
    "AdaptiveThreadPoolExecutor",
    "AsyncLimiter",
    "BufferResource",
    "ConfigError",
    "ConnectionPoolResource",
    "Decision",
    "GuardSettings",
    "GunicornResource",
    "LifecycleError",
    "LoadBalancerResource",
    "MemoryResource",
    "Objective",
    "Outcome",
    "PhysicsModel",
    "QuantumControlError",
    "QuantumController",
    "ResizableThreadPoolExecutor",
    "Resource",
    "ResourceState",
    "SafetyError",
    "SensorError",
    "ThreadPoolResource",
    "register_pool",
    "unregister_pool",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
