"""A connection that does nothing, of which tests change what they are about."""

from quantum_control.resources.tcp_connections import Connection

MB = 1_000_000

IDLE = Connection(
    cookie=1,
    cgroup=0,
    send_buffer=2 * MB,
    send_held=0,
    send_queued=0,
    sent=0,
    receive_buffer=2 * MB,
    window=1 * MB,
    received=0,
    round_trip=0.2,
    receive_round_trip=0.0,
    least_round_trip=0.2,
    send_limited=0.0,
    peer_limited=0.0,
)
