"""Plants: what a size does, in closed form where there is one, on floats or on arrays of runs."""

from quantum_control.simulation.plants.backends import BackEnds
from quantum_control.simulation.plants.base import Plant, Reading
from quantum_control.simulation.plants.buffer import DropTailBuffer
from quantum_control.simulation.plants.heap import Heap, square_root_heap
from quantum_control.simulation.plants.pool import UslPool
from quantum_control.simulation.plants.queues import DiscreteQueue, FluidQueue
from quantum_control.simulation.plants.resource import PlantResource
from quantum_control.simulation.plants.server import TimeoutServer

__all__ = [
    "BackEnds",
    "DiscreteQueue",
    "DropTailBuffer",
    "FluidQueue",
    "Heap",
    "Plant",
    "PlantResource",
    "Reading",
    "TimeoutServer",
    "UslPool",
    "square_root_heap",
]
