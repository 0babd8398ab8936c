import pytest

from quantum_control import (
    ActuatorError,
    ConfigError,
    LifecycleError,
    QuantumControlError,
    SafetyError,
    SensorError,
)
from quantum_control.core.errors import unknown_name


@pytest.mark.parametrize("kind", [ActuatorError, ConfigError, LifecycleError, SafetyError, SensorError])
def test_one_base_catches_every_error(kind: type[Exception]) -> None:
    assert issubclass(kind, QuantumControlError)


def test_a_wrong_parameter_is_also_a_value_error_and_a_wrong_moment_a_runtime_error() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(LifecycleError, RuntimeError)


def test_the_nearest_name_is_suggested() -> None:
    assert unknown_name("law", "coherant", ["coherent", "parametric"]) == (
        "unknown law 'coherant'; did you mean 'coherent'?"
    )


def test_case_does_not_keep_a_name_from_being_near() -> None:
    assert "did you mean 'Parametric'?" in unknown_name("law", "PARAMETRIC", ["Parametric", "coherent"])


def test_where_none_is_near_all_are_listed() -> None:
    assert unknown_name("law", "zzz", ["b", "a"]) == "unknown law 'zzz'; known: a, b"
    assert unknown_name("law", "zzz", []) == "unknown law 'zzz'; known: none"
