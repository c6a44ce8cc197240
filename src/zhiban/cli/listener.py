"""The socket that `serve` and `demo` listen on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from zhiban.kit.errors import Misconfigured, Unavailable


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """The socket, taken before anything else is started. Raises Unavailable when the port is taken."""
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"Port {port} is taken by another program. Stop it, or choose another one, such as --port {port + 1}."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Misconfigured(f"Port {port} may not be used by this user. Choose one above 1023.") from error
        raise Misconfigured(f"This machine has no address {host} to listen on.") from error
    with listener:
        yield listener


def address_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds us."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
