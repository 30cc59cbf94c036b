"""Which TCP ports the servers listen on: the asked ones if free, the remembered ones, else any free one."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable

from eventsource.errors import EmbeddedStackError

HOST = "127.0.0.1"

# Below the range that operating systems hand to outgoing connections (32768 on Linux, 49152 on macOS): a port chosen here
# is likely still free at the next start, so that addresses survive a restart.
_CHOICE = range(20000, 32768)
_ATTEMPTS = 200
_HIGHEST = 65535


def is_free(port: int) -> bool:
    """Whether nothing listens on `port` of the loopback interface and it can be bound."""
    # BSD lets a specific address be bound beside a wildcard listener, so binding alone does not tell.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Without it, connections of a previous run in TIME_WAIT would make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_port(
    preferred: Iterable[int],
    *,
    taken: set[int],
    free: Callable[[int], bool] = is_free,
    rng: random.Random | None = None,
) -> int:
    """Returns the first free port of `preferred` (0 stands for none), else a random free one, and adds it to `taken`.

    Raises `EmbeddedStackError` when none of the tried ports is free.
    """
    for port in preferred:
        if 0 < port <= _HIGHEST and port not in taken and free(port):
            taken.add(port)
            return port
    rng = rng or random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = rng.choice(_CHOICE)
        if port not in taken and free(port):
            taken.add(port)
            return port
    raise EmbeddedStackError(
        f"found no free TCP port between {_CHOICE.start} and {_CHOICE.stop - 1} on {HOST}: end what listens there"
    )
