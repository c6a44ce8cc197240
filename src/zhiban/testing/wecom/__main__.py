"""`python -m zhiban.testing.wecom --port 8801 --callback http://127.0.0.1:8000/wecom/callback`."""

from __future__ import annotations

import argparse

import uvicorn

from zhiban.testing.wecom import WeComSimulator, application


def main() -> None:
    """Serve a simulator until interrupted. Its API base is `http://host:port/cgi-bin`."""
    parser = argparse.ArgumentParser(prog="python -m zhiban.testing.wecom", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8801)
    parser.add_argument("--callback", default="", help="where doorbells go")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every endpoint takes")
    chosen = parser.parse_args()
    simulator = WeComSimulator()
    if chosen.callback:
        simulator.configure(chosen.callback)
    if chosen.latency:
        simulator.fail("*", latency=chosen.latency, times=None)
    uvicorn.run(application(simulator), host=chosen.host, port=chosen.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
