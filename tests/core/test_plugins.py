from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest
from doubles import Pushes

from quantum_control import ConfigError, Objective, PhysicsModel
from quantum_control.core import plugins

PRICES = Objective()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Name and target of each plug-in law; fill it in."""
    targets: dict[str, str] = {}

    def entry_points(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, target, group) for name, target in targets.items()]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    plugins._entry_points.cache_clear()
    yield targets
    plugins._entry_points.cache_clear()


@pytest.mark.parametrize("name", ["optomechanical", "parametric", "coherent"])
def test_the_built_in_laws_come_in_by_entry_point(name: str) -> None:
    assert name in plugins.names("physics")
    assert plugins.law(name, PRICES).name == name


def test_a_plug_in_is_a_law_by_name(registered: dict[str, str]) -> None:
    registered["pushes"] = "doubles:Pushes"
    assert plugins.names("physics") == ["pushes"]
    assert isinstance(plugins.law("pushes", PRICES), Pushes)


def test_an_instance_is_itself() -> None:
    law = Pushes()
    assert plugins.law(law, PRICES) is law


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("optomecanical", "optomechanical"), ("Coherent", "coherent"), ("PARAMETRIC", "parametric")],
)
def test_an_unknown_name_suggests_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown physics model {wrong!r}; did you mean {right!r}"):
        plugins.law(wrong, PRICES)


@pytest.mark.parametrize("wrong", ["", "zzz"])
def test_a_name_near_to_none_lists_them_all(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"known: .*coherent, .*optomechanical, parametric"):
        plugins.law(wrong, PRICES)


@pytest.mark.parametrize("target", ["no_such_module:Law", "doubles:NoSuchLaw"])
def test_a_plug_in_that_cannot_be_loaded_says_where_it_should_be(
    registered: dict[str, str], target: str
) -> None:
    registered["broken"] = target
    with pytest.raises(ConfigError, match=f"'broken' is registered as '{target}' but cannot be loaded"):
        plugins.law("broken", PRICES)


@pytest.mark.parametrize("target", ["doubles:Pool", "doubles:controlled"])
def test_a_plug_in_that_is_no_law_is_refused(registered: dict[str, str], target: str) -> None:
    registered["wrong"] = target
    with pytest.raises(ConfigError, match="which is no PhysicsModel"):
        plugins.law("wrong", PRICES)


@pytest.mark.parametrize("wrong", [None, 3, Pushes, object()])
def test_what_is_neither_name_nor_instance_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError, match="the name of a law or a PhysicsModel instance is needed"):
        plugins.law(wrong, PRICES)


def test_a_law_by_name_is_made_for_the_prices(registered: dict[str, str]) -> None:
    registered["priced"] = f"{__name__}:Priced"
    prices = Objective(waiting=9.0)
    law = plugins.law("priced", prices)
    assert isinstance(law, Priced)
    assert law.prices is prices


class Priced(Pushes):
    prices: Objective

    @classmethod
    def create(cls, objective: Objective) -> "Priced":
        law = cls()
        law.prices = objective
        return law


def test_a_law_is_a_physics_model() -> None:
    assert isinstance(plugins.law("coherent", PRICES), PhysicsModel)
