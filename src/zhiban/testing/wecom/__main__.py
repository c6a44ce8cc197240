"""`python -m zhiban.testing.wecom --port 8801 --callback http://127.0.0.1:8000/wecom/callback`."""

from __future__ import annotations

import argparse
import os

import uvicorn

from zhiban.testing.wecom import AES_KEY, AGENT_ID, CORP_ID, SECRET, TOKEN, WeComSimulator, application


def main() -> None:
    """Serve a simulator until interrupted. Its API base is `http://host:port/cgi-bin`."""
    parser = argparse.ArgumentParser(prog="python -m zhiban.testing.wecom", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8801)
    parser.add_argument("--callback", default="", help="where doorbells go")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every endpoint takes")
    chosen = parser.parse_args()
    # The same names as the product's, so that both can be started with one environment.
    given = os.environ.get
    simulator = WeComSimulator(
        corp_id=given("WECOM_CORP_ID", CORP_ID),
        secret=given("WECOM_AGENT_SECRET", SECRET),
        agent_id=int(given("WECOM_AGENT_ID", AGENT_ID)),
    )
    if chosen.callback:
        token, aes_key = given("WECOM_TOKEN", TOKEN), given("WECOM_ENCODING_AES_KEY", AES_KEY)
        simulator.configure(chosen.callback, token=token, aes_key=aes_key)
    if chosen.latency:
        simulator.fail("*", latency=chosen.latency, times=None)
    uvicorn.run(application(simulator), host=chosen.host, port=chosen.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
