"""What is told of a controller, whoever asks: names, units and how each figure is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf, nan
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple
from weakref import ref

from quantum_control.core.controller import QuantumController
from quantum_control.core.decision import Decision
from quantum_control.core.errors import ConfigError
from quantum_control.core.resource import ResourceState

MOST_FIGURES = 40
"""Of an adapter's own, for each resource: what a label may hold has to end somewhere."""

TOLD = frozenset({"throughput", "wait_seconds", "service_seconds", "errors", "drops"})
"""Figures that have families of their own."""


Labelled = Mapping[tuple[str, ...], float]
"""Values by those of the labels that a family has beside `resource`."""

NONE_YET: Labelled = {("knee",): 0, ("maximum",): 0, ("minimum",): 0, ("slew limit",): 0}
"""Interventions that any resource may come to: told before the first, which a rate would else miss."""


class Seen(NamedTuple):
    """One controller at one instant."""

    controller: QuantumController
    kind: str
    decision: Decision
    state: ResourceState | None
    active: bool
    """Whether its size is set; else size and demand may be those of a twin."""


class Family(NamedTuple):
    """One metric, and what it is for a controller; nan where there is nothing to tell."""

    name: str
    kind: str
    """ "counter" or "gauge"."""
    text: str
    read: Callable[[Seen], float | Labelled]
    unit: str = ""
    """As UCUM writes it; empty for numbers without one, and for the resource's own."""
    labels: tuple[str, ...] = ()
    """Beside `resource`, in alphabetical order."""

    def told(self, seen: Seen) -> float | Labelled:
        """What `read` returns, as floats; nan for what is no number that a float can hold, or cannot be read.

        An adapter or a law of somebody else may say anything, which is no reason
        to tell nothing of the other resources.
        """
        try:
            found: object = self.read(seen)
            if type(found) is float:  # most of the page: not a call more than it needs
                return found
            if isinstance(found, dict):
                return {labels: _real(value) for labels, value in found.items()}
        except Exception:  # noqa: BLE001 - see above; the controller counts and logs its failures
            return nan
        return _real(found)

    @property
    def sample_name(self) -> str:
        """Name of the series in Prometheus."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def _real(value: Any) -> float:
    if isinstance(value, (str, bytes)):  # one that reads like a number is a name or a version
        return nan
    try:
        return float(value)  # whatever type of number it is: numpy's, that of a database
    except Exception:  # noqa: BLE001 - of somebody else's type, as above
        return nan


def _of_state(field: str) -> Callable[[Seen], float]:
    field_of = attrgetter(field)

    def read(seen: Seen) -> float:
        return nan if seen.state is None else field_of(seen.state)

    return read


def _info(seen: Seen) -> Labelled:
    physics, resource = seen.controller.physics, seen.controller.resource
    # A law that selects or tunes others says which one it is at the moment.
    in_use = getattr(physics, "law", physics)
    return {(str(in_use.name), str(physics.name), seen.kind, str(resource.unit)): 1.0}


def _outcomes(seen: Seen) -> Labelled:
    return {(outcome,): steps for outcome, steps in seen.controller.tally.outcomes.items()}


def _interventions(seen: Seen) -> Labelled:
    told = dict(NONE_YET)
    for who, steps in list(seen.controller.tally.interventions.items()):
        told[(who,)] = steps
    return told


def _roll_backs(seen: Seen) -> Labelled:
    controller = seen.controller
    loss = sum(getattr(link, "roll_backs", 0) for link in controller.links)
    return {
        ("asked",): controller.tally.put_back,
        ("failures",): controller.tally.handed_back,
        ("loss",): loss,
    }


def _figures(seen: Seen) -> Labelled:
    own = [item for item in seen.controller.metrics.items() if item[0] not in TOLD]
    return {(str(name),): value for name, value in own[:MOST_FIGURES]}


FAMILIES: tuple[Family, ...] = tuple(
    Family(f"quantum_control_{name}", kind, text, read, unit, labels)
    for name, kind, unit, labels, text, read in (
        ("resource_info", "gauge", "", ("model", "physics_model", "type", "unit"),
         "The law in use, the law asked for, the type of the resource and its unit, as labels.", _info),
        ("size", "gauge", "", (), "Size ordered, in the resource's unit.",
         lambda s: s.controller.size or nan),
        ("size_in_force", "gauge", "", (), "Size found at the last measurement.", _of_state("size")),
        ("size_wanted", "gauge", "", (), "Size that the law asked for.", lambda s: s.decision.wanted),
        ("size_original", "gauge", "", (), "Size found at the start.",
         lambda s: s.controller.original or nan),
        ("size_minimum", "gauge", "", (), "Smallest that may be set.",
         lambda s: s.controller.bounds.minimum),
        ("size_maximum", "gauge", "", (), "Largest that may be set.",
         lambda s: s.controller.bounds.maximum or inf),
        ("demand", "gauge", "", (), "In use and waiting, in units of size.", _of_state("demand")),
        ("backlog", "gauge", "", (), "Work that will wait when the next size acts.", _of_state("backlog")),
        ("flow", "gauge", "", (), "New demand of the last interval, without backlog.", _of_state("flow")),
        ("position", "gauge", "", (), "Demand over size, less one: negative is slack.",
         _of_state("position")),
        ("velocity_per_second", "gauge", "1/s", (), "Rate of change of the position.",
         _of_state("velocity")),
        ("acceleration_per_second_squared", "gauge", "", (), "Of the position.",
         _of_state("acceleration")),
        ("temperature", "gauge", "", (), "Noise of the flow; 1 is Poisson's.", _of_state("temperature")),
        ("force_per_second", "gauge", "1/s", (), "Relative change of size asked for.",
         lambda s: s.decision.force),
        ("setpoint", "gauge", "", (), "Position at which the law wants to rest.",
         lambda s: s.decision.setpoint),
        ("throughput_per_second", "gauge", "1/s", (), "Completions of the resource.",
         _of_state("throughput")),
        ("wait_seconds", "gauge", "s", (), "Mean wait before service.", _of_state("wait_seconds")),
        ("service_seconds", "gauge", "s", (), "Mean time in service.", _of_state("service_seconds")),
        ("errors_per_second", "gauge", "1/s", (), "Failures in the resource.", _of_state("errors")),
        ("drops_per_second", "gauge", "1/s", (), "Rejections of the resource.", _of_state("drops")),
        ("figure", "gauge", "", ("figure",), "What the adapter measures besides, by its own names.",
         _figures),
        ("steps", "counter", "", (), "Steps of the loop.", lambda s: s.controller.steps),
        ("step_seconds", "counter", "s", (), "Time that all steps took, with the answers of the resource.",
         lambda s: s.controller.tally.seconds),
        ("decisions", "counter", "", ("outcome",), "Steps by how they ended.", _outcomes),
        ("interventions", "counter", "", ("reason",), "Steps at which a size was held back or replaced.",
         _interventions),
        ("roll_backs", "counter", "", ("reason",), "Times that the original size was put back.",
         _roll_backs),
        ("failures", "counter", "", (), "Failures to measure, to decide or to set.",
         lambda s: s.controller.failures),
        ("model_skill", "gauge", "", (), "Predictions of the law: 1 is perfect, 0 no better than none.",
         lambda s: s.controller.score.skill),
        ("model_error", "gauge", "", (), "Mean error of the predictions, over the size.",
         lambda s: s.controller.score.error),
        ("cost", "counter", "", (), "Waiting, size and changes, in the objective's prices.",
         lambda s: s.controller.tally.cost),
        ("cost_at_original", "counter", "", (),
         "Estimate of what the same flow would have cost at the original size.",
         lambda s: s.controller.tally.cost_at_original),
        ("saving_ratio", "gauge", "1", (),
         "Part of the cost at the original size saved since the start, estimated.",
         lambda s: s.controller.tally.saving),
        ("interval_seconds", "gauge", "s", (), "Time between steps.", lambda s: s.controller.interval),
        ("running", "gauge", "", (), "1 while the loop runs by itself.", lambda s: s.controller.running),
        ("suspended", "gauge", "", (), "1 while the resource is handed back after failures.",
         lambda s: s.controller.suspended),
        ("active", "gauge", "", (),
         "1 where the size is set; 0 where sizes and demand are a twin's (shadow), or are only looked at.",
         lambda s: s.active),
    )
)  # fmt: skip
"""All that is exported, in the order of the page."""


class Exported:
    """Controllers under the names by which they are told; none is kept alive."""

    def __init__(self) -> None:
        self._controllers: dict[str, tuple[ref[QuantumController], str, bool]] = {}

    def add(
        self,
        controller: QuantumController,
        name: str | None = None,
        kind: str | None = None,
        *,
        active: bool = True,
    ) -> str:
        """Export `controller` under `name`, by default its kind, numbered; return the name.

        The `kind` is the label `type`, by default the type of the resource. Not
        `active` is one that steers a twin, or nothing: its figures are not those
        of the resource, and most alerts are not for it.

        Raises
        ------
        ConfigError
            Another controller is exported under this name.
        """
        taken = {each for each, (held, *_) in list(self._controllers.items()) if held() is not None}
        kind = kind or type(controller.resource).__name__
        if name is None:
            numbered = (kind if n == 1 else f"{kind}-{n}" for n in range(1, len(taken) + 2))
            name = next(each for each in numbered if each not in taken)
        elif name in taken:
            raise ConfigError(f"a controller is exported as {name!r} already; give each a name of its own")
        self._controllers[name] = ref(controller), kind, active
        return name

    def add_all(
        self, controllers: Iterable[QuantumController], named: Mapping[str, QuantumController]
    ) -> None:
        """Export `controllers` under names of their kinds, and those in `named`; all of them, or none.

        Raises
        ------
        ConfigError
            As `add`.
        """
        added: list[str] = []
        try:  # what was added before an error is in the list
            added.extend(self.add(controller) for controller in controllers)
            added.extend(self.add(controller, name) for name, controller in named.items())
        except BaseException:
            for name in added:
                self.remove(name)
            raise

    def remove(self, name: str) -> None:
        """Export it no more; nothing happens if it is not exported."""
        self._controllers.pop(name, None)

    def seen(self) -> list[tuple[str, Seen]]:
        """Look at each controller once, so that what is told of it belongs together.

        In a forked child those of its parent, which tells of them itself, are left out.
        """
        seen = []
        for name, (held, kind, active) in sorted(self._controllers.items(), key=itemgetter(0)):
            controller = held()
            if controller is None:
                if self._controllers.get(name, (None,))[0] is held:  # and not the next of this name
                    self._controllers.pop(name, None)
            elif controller.decisions and not controller.inherited:
                decision = controller.decisions[-1]
                seen.append((name, Seen(controller, kind, decision, decision.state, active)))
        return seen
