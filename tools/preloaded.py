"""Workers for pytest-xdist that have the tests loaded: each would load for ten seconds what all the others load, too.

    preloaded.py serve DESCRIPTOR [pytest's arguments]    load once, and fork a worker for whoever connects
    preloaded.py ADDRESS -u -c LINE                       stands for `python`, as in `--tx 8*popen//python=…`

The second asks the first for a worker that takes over its input and output, and stays for as long as that worker lives.
Where nobody answers it becomes the ordinary Python that it stands for.
"""

from __future__ import annotations

import os
import sys

HEAD = 8  # bytes that say how long the environment is
STREAMS = 3  # input, output and errors


def ask(address: str, arguments: list[str]) -> None:
    """Have a worker, or be one."""
    import socket

    environment = b"\0".join(name + b"=" + value for name, value in os.environb.items())
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
            socket.send_fds(connection, [len(environment).to_bytes(HEAD, "big")], [0, 1, 2])
            connection.sendall(environment)
            if connection.recv(1):
                for descriptor in (0, 1):  # the worker's alone, so that its end is seen
                    os.close(descriptor)
                connection.recv(1)  # until it has ended
                return
        except OSError:
            pass
    os.execv(sys.executable, [sys.executable, *arguments])


def collect(arguments: list[str], *, from_the_end: bool = False) -> None:
    """Load what these arguments of pytest collect."""
    import contextlib
    from collections.abc import Generator

    import pytest

    class Backwards:
        @pytest.hookimpl(wrapper=True)
        def pytest_make_collect_report(
            self, collector: pytest.Collector
        ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
            report = yield
            if isinstance(collector, pytest.Session | pytest.Directory):
                report.result.reverse()
            return report

    asked = [*arguments, "--collect-only", "-qq", "-p", "no:cacheprovider", "-p", "no:xdist"]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        pytest.main(asked, plugins=[Backwards()] if from_the_end else [])


def collect_with_help(arguments: list[str]) -> None:
    """Where nothing is compiled yet, compiling takes most of the time. Somebody else begins with it at the other end,
    on another processor, and ends by themselves: what they leave in files is compiled already when we come to it."""
    if os.fork() == 0:
        try:
            collect(arguments, from_the_end=True)
        finally:
            os._exit(0)
    collect(arguments)


def serve(descriptor: int, arguments: list[str]) -> None:
    """Load what these arguments of pytest collect, then fork workers until the standard input is closed."""
    import gc
    import selectors
    import signal
    import socket

    collect_with_help(arguments)
    from tests.preloading import preload

    preload()
    gc.collect()
    gc.freeze()  # what is looked through for garbage would be copied for each worker
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers hear it themselves; we end with whoever started us
    with socket.socket(fileno=descriptor) as listener, selectors.DefaultSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        waiting.register(sys.stdin, selectors.EVENT_READ)
        while all(key.fileobj is listener for key, _ in waiting.select()):
            connection, _ = listener.accept()
            with connection:
                head, descriptors, _, _ = socket.recv_fds(connection, HEAD, STREAMS, socket.MSG_CMSG_CLOEXEC)
                environment, size = bytearray(), int.from_bytes(head, "big")
                while len(environment) < size and (more := connection.recv(1 << 16)):
                    environment += more
                # Whoever went away before all was said wants no worker any more.
                if len(descriptors) == STREAMS and len(environment) == size and os.fork() == 0:
                    listener.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    signal.signal(signal.SIGINT, signal.default_int_handler)
                    connection.sendall(b"1")
                    become(descriptors, bytes(environment))
                    return
            for one in descriptors:
                os.close(one)


def become(descriptors: list[int], environment: bytes) -> None:
    """What `python -u -c "import sys;exec(eval(sys.stdin.readline()))"` is, which execnet starts."""
    import types

    for number, one in enumerate(descriptors):
        os.dup2(one, number)
        os.close(one)
    os.environb.clear()
    for variable in environment.split(b"\0"):
        name, _, value = variable.partition(b"=")
        os.environb[name] = value
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    sys.argv = ["-c"]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(eval(sys.stdin.readline()), vars(main))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), sys.argv[3:])
    else:
        ask(sys.argv[1], sys.argv[2:])
