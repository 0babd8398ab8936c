"""What buffers connections need, by what their sockets tell."""

from dataclasses import replace

import pytest
from resources.idle_connection import IDLE, MB

from quantum_control.resources.buffer_need import COMFORT, need


def sending(rate, round_trip=0.2, **changes):
    """The need of a sender of `rate` bytes a second that has its buffer full."""
    now = replace(IDLE, sent=rate, send_held=2 * MB, send_queued=1 * MB, round_trip=round_trip, **changes)
    return need({1: IDLE}, [now], 1.0)


def test_a_sender_limited_by_its_buffer_asks_for_a_multiple_of_it():
    # 1 MB of payload fills 2 MB of buffer, and goes once every 0.2 s.
    assert sending(5 * MB).send == pytest.approx(COMFORT * 2 * MB)


def test_what_waits_in_a_queue_is_not_asked_for():
    assert sending(5 * MB, round_trip=1.0).send == sending(5 * MB).send
    assert sending(1 * MB, round_trip=1.0).send < 2 * MB


def test_a_full_buffer_that_stands_in_a_queue_is_told_as_bloat():
    assert sending(1 * MB, round_trip=1.0).bloated
    assert sending(1 * MB, round_trip=1.0).queueing == pytest.approx(0.8)
    assert not sending(5 * MB).bloated
    assert not sending(100_000, round_trip=1.0).bloated, "the queue is somebody else's"


def test_a_receiver_asks_by_the_share_of_its_window_in_use():
    now = replace(IDLE, received=5 * MB)
    assert need({1: IDLE}, [now], 1.0).receive == pytest.approx(COMFORT * 2 * MB)
    assert need({1: IDLE}, [replace(now, received=0)], 1.0).receive == 0.0


def test_a_connection_without_a_known_round_trip_or_past_asks_for_nothing():
    now = replace(IDLE, sent=MB)
    assert need({}, [now], 1.0).send == 0.0
    assert need({1: IDLE}, [replace(now, least_round_trip=0.0)], 1.0).send == 0.0


def test_sizes_beyond_32_bits_are_not_cut():
    huge = sending(10**12, round_trip=0.2)
    assert huge.send == pytest.approx(COMFORT * 2 * 10**12 * 0.2)
