"""Load balancers as resources: how many back ends are in use, and what share each gets."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from quantum_control.core.ejection import MAX_OUT, Ejection
from quantum_control.core.errors import ConfigError, QuantumControlError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.core.shares import Share, Shares
from quantum_control.resources.balancer import Balancer, open_balancer
from quantum_control.resources.balancer_figures import figures, observed, utilisation
from quantum_control.resources.balancer_left import LeftBehind
from quantum_control.resources.custody import Custody
from quantum_control.resources.reading import positive_int
from quantum_control.resources.roster import Roster

_log = logging.getLogger("quantum_control")


class LoadBalancerResource(Resource):
    """Steers the back ends of a load balancer.

    The size is the number of back ends in use. Within them each has a weight,
    and the weights are coupled, being shares of one stream: every measurement
    also sets them so that the marginal latency is equal (`core.shares`), with
    the sick drained and tried again (`core.ejection`). But for the sick nothing is
    touched in the first few measurements, and `release()` puts everything back.

    Unless bounds or spares are given the number stays as it is found and only
    the weights are steered: a back end that is paid for anyway is best used.

    Parameters
    ----------
    url
        Which balancer: see `open_balancer` for the forms.
    balancer
        The balancer itself, in place of the URL.
    min_backends, max_backends
        Bounds of the number in use. By default the number found, and that
        number plus the spares.
    spares
        Addresses ("host:port") of servers that may be added to the set when
        more are needed, and are taken out again. One that is a back end
        already is told in the log, and left as it is.
    steer_weights
        False only computes the weights (`get_metrics`) and leaves them alone.
    max_out
        Largest part of the set that may be ejected at once.
    clock
        Seconds.

    Raises
    ------
    ConfigError
        A parameter is wrong.
    SensorError
        The balancer cannot be reached.

    As a context manager it calls `release()` at the end.
    """

    unit = "back ends"

    def __init__(
        self,
        url: str | None = None,
        *,
        balancer: Balancer | None = None,
        min_backends: int | None = None,
        max_backends: int | None = None,
        spares: Sequence[str] = (),
        steer_weights: bool = True,
        max_out: float = MAX_OUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if (url is None) == (balancer is None):
            raise ConfigError("give either url= or balancer=, and not both")
        self._balancer = balancer if balancer is not None else open_balancer(str(url))
        self._balancer.check_spares(spares)
        self._spares = tuple(spares)
        self.steers_while_measuring = steer_weights
        """Whether `measure_state()` sets the weights; whoever only wants to look sets it to False."""
        self._max_out = max_out
        self._clock = clock
        self._custody = Custody(self._balancer)
        self._time = clock()
        self._last = self._balancer.read()
        self._custody.notice(self._last)
        self._roster = Roster(self._custody, spares, steer_weights)
        members = self._roster.members()
        found = len(members)
        if not found:
            raise ConfigError(
                f"{self._balancer!r} has no back end with a weight above 0; there is nothing to steer"
            )
        self.min_size = positive_int("min_backends", found if min_backends is None else min_backends)
        self.max_size = positive_int(
            "max_backends",
            len({*members, *map(self._balancer.name_of, spares)}) if max_backends is None else max_backends,
        )
        # Those that are kept out count: after a kill -9 it may be us who did.
        if not self.min_size <= self.max_size <= len(self._last.back_ends) + len(spares):
            raise ConfigError(
                f"min_backends={self.min_size}, max_backends={self.max_size}: there are {found} back ends and"
                f" {len(spares)} spares, and 1 <= min <= max"
            )
        for address in self._there_already():
            _log.warning(
                "%r: the spare %s is a back end already, and neither added nor taken out. Unless a process"
                " that is gone has left it, take it out of spares=",
                self._balancer,
                address,
            )
        self._shares = Shares(Ejection(max_out))
        self._plan: dict[str, Share] = {}
        self._size = found  # back ends that are to be in use
        self._utilisation = 0.0  # of those that were in use when it was measured last
        self._metrics: dict[str, float] = {}
        self._taken: dict[str, Any] | None = None  # what `snapshot` said last
        # Whoever forgets release() gets the weights back when this is collected, or the process ends.
        weakref.finalize(self, _give_back_quietly, self._custody)

    @classmethod
    def again(cls, options: Mapping[str, Any], snapshot: Mapping[str, Any]) -> LeftBehind:  # noqa: ARG003
        """What puts a snapshot back, in another process, whatever weights and bounds there are."""
        balancer = options.get("balancer")
        return LeftBehind(open_balancer(options["url"]) if balancer is None else balancer)

    # ---- the contract ---------------------------------------------------------------------------

    def measure_state(self) -> ResourceState:
        """Measure since the previous call, and set the weights that follow.

        The demand is the number of back ends that the present rate would fill: size·Λ/Σμ.

        Raises
        ------
        SensorError
            The balancer cannot be read; the weights stay as they are.
        ActuatorError
            It cannot be steered; the weights are as they were before.
        """
        now = self._clock()
        reading = self._balancer.read()
        elapsed = now - self._time
        self._custody.notice(reading)
        seen = observed(self._roster.members(), reading, self._last, elapsed) if elapsed > 0.0 else {}
        self._last, self._time = reading, now
        if elapsed > 0.0:  # also with nobody left in use: somebody else may have taken all of them away
            self._plan = self._shares.step(seen, elapsed)
            self._metrics = figures(seen, self._plan, self._custody.ordered, self._shares.capacities) | {
                "foreign": float(len(self._custody.foreign)),
                "orders": float(self._roster.orders),
            }
            if self.steers_while_measuring:
                self._roster.tidy(self._size, self._plan, self._shares.capacities, reading)
                self._roster.weigh(self._plan, self._shares.capacities)
        if seen:  # else what was known before stands
            self._utilisation = utilisation(seen, self._shares.capacities)
        return ResourceState.from_demand(self._size * self._utilisation, size=float(self._size))

    def apply_control(self, new_size: int) -> None:
        """Use `new_size` back ends: the fastest, spares last; those that leave are drained first.

        What somebody else has changed since the last measurement is noticed before. Of
        as many as were found all that are still there and in our care are used, those
        that join with their weights as found; the log names the others.

        Raises
        ------
        ConfigError
            Not a positive integer.
        SensorError
            The balancer cannot be read; the set is as it was.
        ActuatorError
            There are not so many, nor were as many found; or the balancer refused. The set is as it was.
        """
        positive_int("new_size", new_size)
        reading = self._balancer.read()
        self._custody.notice(reading)
        self._roster.use(new_size, self._plan, self._shares.capacities, reading)
        self._size = new_size

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last measured interval; none before the first measurement.

        `throughput`, `errors`: requests ended and failed per second.
        `latency_seconds`: mean time in the back ends, by Little's law.
        `in_flight`: requests under way. `members`, `ejected`, `foreign`:
        back ends in use, drained as sick or on trial, and left alone because somebody
        else has changed their weight. `orders`: times that weights were set.
        Of each back end in use, `weight.NAME`, `share.NAME`, `capacity.NAME`:
        weight in force, share due (nan while it is not known) and estimated
        capacity per second; and `throughput.NAME`, `errors.NAME`,
        `latency_seconds.NAME`, `in_flight.NAME` as of the whole; `up.NAME`: 1
        where the balancer takes it for usable.
        """
        return dict(self._metrics)

    @property
    def foreign(self) -> dict[str, int]:
        """Weights of the back ends that are left alone because somebody else sets them."""
        return dict(self._custody.foreign)

    @property
    def plan(self) -> dict[str, Share]:
        """What each back end in our care was due last, and why."""
        return dict(self._plan)

    def release(self) -> None:
        """Put every weight back as it was found, and take out what was added; for after `stop()`.

        What somebody else has changed meanwhile is left as they have set it. In
        a forked child that has ordered nothing nothing is done.

        Raises
        ------
        SensorError
            It cannot be read; call again when it can.
        ActuatorError
            The balancer did not take it.
        """
        self._custody.give_back()
        self._begin_anew()

    @property
    def found_more(self) -> int:
        """How often there was more for `snapshot()`: back ends come into our care, and not changed yet."""
        return self._custody.found_more

    @property
    def outlives_boot(self) -> bool:
        """Whether what is set here is there still when this machine has started anew."""
        return self._balancer.outlives_boot

    def snapshot(self) -> dict[str, object]:
        """What `restore` needs to put back all that was found, also from another process; JSON."""
        taken: dict[str, Any] = {
            "weights": self._known() | self._custody.in_care(),
            "added": [
                self._balancer.name_of(address)
                for address in self._spares
                if address not in self._there_already()
            ],
            "balancer": self._balancer.snapshot(),
        }
        self._taken = taken
        return dict(taken)

    def _known(self) -> dict[str, int]:
        """Weights of the last snapshot, of back ends that are there still, whoever has changed them since."""
        said: dict[str, int] = {} if self._taken is None else dict(self._taken["weights"])
        return {name: weight for name, weight in said.items() if name in self._custody.original}

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Put back what was found, also by a process that is gone: weights, and what it has added taken out.

        Where `snapshot` was taken here this is `release()`, which leaves what
        somebody else has changed meanwhile. Of what a process that is gone
        has taken nobody knows that any more: all of it is put back.

        Raises
        ------
        SensorError
            It cannot be read; nothing was done.
        ActuatorError
            The balancer did not take it, or requests hold on to what was added: restore once more then.
        """
        if snapshot == self._taken:
            self.release()
            return
        self._balancer.recall(snapshot["balancer"])
        self._custody.put_back(snapshot["weights"], snapshot["added"])
        self._begin_anew()

    def _there_already(self) -> list[str]:
        """Spares that are back ends and that we have not added."""
        there = self._custody.original.keys() - self._custody.added
        return [address for address in self._spares if self._balancer.name_of(address) in there]

    def _begin_anew(self) -> None:
        self._shares = Shares(Ejection(self._max_out))
        self._plan = {}
        self._roster.clear()
        self._size = len(self._roster.members())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<LoadBalancerResource: {self._size} back ends of {self._balancer!r}>"


def _give_back_quietly(custody: Custody) -> None:
    try:
        custody.give_back()
    except QuantumControlError as error:
        _log.warning("the original weights were not put back: %s", error)
