"""Where a forge is called is the operator's to say, in the environment, for each kind of forge."""

from __future__ import annotations

import pytest

from zhiban import bootstrap
from zhiban.kit.settings import load

BASES = {
    "github": "https://git.example.com/api/v3",
    "gitlab": "https://git.example.com/api/v4",
    "gitea": "https://git.example.com/api/v1",
    "gitee": "https://git.example.com/api/v5",
}


def test_every_forge_has_an_address_that_can_be_set() -> None:
    assert set(BASES) == set(bootstrap.TRACKERS)


@pytest.mark.parametrize("name", BASES)
def test_what_the_environment_says_is_where_new_connections_call(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    integration = bootstrap.TRACKERS[name]
    usual = integration.operators(load(env_file=None))["api_base"]
    monkeypatch.setenv(f"{name.upper()}_API_BASE", BASES[name])
    said = integration.operators(load(env_file=None))
    assert said == {"api_base": BASES[name]} != {"api_base": usual}
    made = integration.setup.complete({"account": "acme", "token": "x", **said})
    assert made["api_base"] == BASES[name]
