"""The names that people put into their environment and into .env."""

from __future__ import annotations

from pathlib import Path

import pytest

from zhiban.integrations.wecom.config import WeComSettings
from zhiban.kit.errors import Misconfigured
from zhiban.kit.settings import load


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ZHIBAN_DATA", "DATABASE_URL", "KB_DB_URL", "LLM_API_KEY", "WECOM_AES_KEY", "KB_TOP_K"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_names_come_from_the_environment_and_pasted_blanks_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WECOM_CORP_ID", " ww123 \n")
    monkeypatch.setenv("WECOM_AES_KEY", "k" * 43)
    monkeypatch.setenv("KB_DB_URL", "postgresql://somewhere/db")
    found = load()
    vendor = found.part(WeComSettings)
    assert vendor.wecom_corp_id == "ww123"
    assert vendor.wecom_encoding_aes_key.get_secret_value() == "k" * 43
    assert found.database_url is not None
    assert found.database_url.get_secret_value() == "postgresql://somewhere/db"


def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KB_TOP_K=5\nWECOM_ENCODING_AES_KEY=fromfile\nUNKNOWN=1\n")
    assert load().kb_top_k == 5
    monkeypatch.setenv("KB_TOP_K", "7")
    assert load().kb_top_k == 7
    assert load().part(WeComSettings).wecom_encoding_aes_key.get_secret_value() == "fromfile"


@pytest.mark.parametrize("name", ["ZHIBAN_DATA", "DATABASE_URL", "KB_SIMILARITY_THRESHOLD", "LLM_TIMEOUT"])
def test_an_empty_setting_is_no_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    plain = load()
    monkeypatch.setenv(name, "")
    assert load() == plain
    assert load().data.name == "data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KB_TOP_K", "many"),
        ("LLM_API_BASE", "ftp://somewhere"),
        ("ZHIBAN_LOCALE", "fr"),
        ("KB_SIMILARITY_THRESHOLD", "9"),
    ],
)
def test_a_mistake_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=name):
        load()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("# 模型\nKB_TOP_K=5\n".encode("gbk"))  # as some editors save it
    with pytest.raises(Misconfigured, match=r"\.env is not written in UTF-8"):
        load()


def test_an_unknown_provider_needs_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_KEY", "sk-x")
    monkeypatch.setenv("LLM_PROVIDER", "somebody")
    with pytest.raises(Misconfigured, match="LLM_API_BASE"):
        load()
    monkeypatch.setenv("LLM_API_BASE", "http://127.0.0.1:1/v1/")
    assert load().llm_address == "http://127.0.0.1:1/v1"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_KEY", "sk-very-secret")
    assert "sk-very-secret" not in repr(load())


def test_mail_needs_a_bare_sender_and_sends_no_password_in_the_clear() -> None:
    given = {"smtp_host": "mail.example", "smtp_from": "desk@x.example"}
    assert load(env_file=None, **given).smtp_security == "starttls"
    for sender in ("值班<desk@x.example>", "Desk<desk@x.example>", "desk@x.example,b@x.example", "desk@例子.中国"):
        with pytest.raises(Misconfigured, match="SMTP_FROM"):
            load(env_file=None, **{**given, "smtp_from": sender})
    clear = {**given, "smtp_security": "none", "smtp_user": "desk"}
    with pytest.raises(Misconfigured, match="SMTP_SECURITY"):
        load(env_file=None, **clear)
    for here in ("localhost", "127.0.0.1", "::1"):
        assert load(env_file=None, **{**clear, "smtp_host": here}).smtp_host == here
    assert load(env_file=None, **{**clear, "smtp_user": ""}).smtp_security == "none"
