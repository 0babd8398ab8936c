"""What the package promises to those who import it. A change here is a decision."""

import json
import subprocess
import sys

import pytest

import quantum_control

PUBLIC = [
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


def test_the_public_names_are_these() -> None:
    print("\n".join(quantum_control.__all__))
    assert quantum_control.__all__ == PUBLIC


def test_each_of_them_is_there_and_says_what_it_is() -> None:
    for name in quantum_control.__all__:
        assert getattr(quantum_control, name).__doc__, name
        assert getattr(quantum_control, name) is getattr(quantum_control, name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'QuantumControler'"):
        _ = quantum_control.QuantumControler  # type: ignore[attr-defined]


def test_dir_lists_them_and_the_version() -> None:
    assert {*PUBLIC, "__version__"} <= set(dir(quantum_control))


def loaded_by(statement: str) -> set[str]:
    """Modules that a new interpreter loads for `statement`."""
    script = (
        "import json, sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(  # noqa: S603 - a script of ours
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=100
    )
    return set(json.loads(done.stdout))


def foreign(modules: set[str]) -> set[str]:
    """Top-level packages among `modules` that are neither ours nor Python's own."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"quantum_control"}


def test_importing_the_package_loads_nothing_else_of_it_and_nothing_foreign() -> None:
    modules = loaded_by("import quantum_control")
    assert foreign(modules) == set()
    assert {name for name in modules if name.startswith("quantum_control")} == {"quantum_control"}


@pytest.mark.parametrize("name", ["QuantumController", "Resource", "PhysicsModel", "GuardSettings"])
def test_the_core_loads_no_adapter_no_client_of_a_server_and_nothing_foreign_but_numpy(name: str) -> None:
    modules = loaded_by(f"from quantum_control import {name}")
    assert foreign(modules) <= {"numpy"}
    ours = {name.split(".")[1] for name in modules if name.startswith("quantum_control.")}
    assert ours == {"core"}


def test_a_controller_of_a_users_own_resource_loads_no_adapter_either() -> None:
    modules = loaded_by(
        "from quantum_control import QuantumController, Resource, ResourceState\n"
        "class Own(Resource):\n"
        "    def measure_state(self): return ResourceState(0.0, size=5.0)\n"
        "    def apply_control(self, new_size): pass\n"
        "    def get_metrics(self): return {}\n"
        "assert QuantumController(Own()).optimize().allowed > 0"
    )
    assert foreign(modules) <= {"numpy"}
    ours = {name.split(".")[1] for name in modules if name.startswith("quantum_control.")}
    assert ours == {"core", "physics"}
