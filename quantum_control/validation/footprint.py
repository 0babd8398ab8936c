"""How much memory a controller holds."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

from quantum_control.core.controller import QuantumController

SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType)
"""What is there once, however many controllers there are."""


def controller_bytes(controller: QuantumController) -> int:
    """Bytes that a controller holds, without the resource that it steers."""
    return held_bytes(controller, [controller.resource])


def held_bytes(root: object, without: Iterable[object] = ()) -> int:
    """Bytes of all objects that `root` leads to, itself included, each counted once.

    What is not in it: code and modules, which are there without the
    controller as well, the stack of its thread, and what the allocator rounds
    up. Tracing allocations would slow down what is measured; this looks
    between two blocks.

    Parameters
    ----------
    root
        The controller.
    without
        Objects that are not its own, and are not entered: what it steers.
    """
    seen = {id(each) for each in without}
    waiting = [root]
    total = 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, SHARED):
            continue
        seen.add(id(each))
        total += sys.getsizeof(each, 0)
        if isinstance(each, MethodType):
            waiting.append(each.__self__)
        else:
            waiting += gc.get_referents(each)
    return total
