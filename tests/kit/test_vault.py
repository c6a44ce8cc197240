"""What is stored is unreadable without the key, and a key can be changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from zhiban.kit.errors import Misconfigured
from zhiban.kit.settings import Settings
from zhiban.kit.vault import SealBroken, Vault

SECRETS = {"corpsecret": "非常秘密", "token": "QDG6eK", "retries": 3}
OLD, NEW = "the old key is long enough", "the new key is long enough"


def test_what_was_sealed_opens_again_and_is_unreadable_meanwhile() -> None:
    vault = Vault([OLD])
    sealed = vault.seal(SECRETS)
    assert b"QDG6eK" not in sealed
    assert vault.open(sealed) == SECRETS
    assert vault.seal(SECRETS) != sealed


def test_another_key_does_not_open_it_and_says_what_helps() -> None:
    with pytest.raises(SealBroken, match="ZHIBAN_SECRET_KEY"):
        Vault([NEW]).open(Vault([OLD]).seal(SECRETS))
    with pytest.raises(SealBroken):
        Vault([OLD]).open(b"rubbish")


def test_a_rotated_key_opens_the_old_and_reseals_with_the_new() -> None:
    both = Vault([NEW, OLD])
    sealed = Vault([OLD]).seal(SECRETS)
    assert both.open(sealed) == SECRETS
    assert Vault([NEW]).open(both.reseal(sealed)) == SECRETS
    with pytest.raises(SealBroken):
        Vault([OLD]).open(both.reseal(sealed))


def test_a_fernet_key_is_used_as_it_is() -> None:
    key = Fernet.generate_key()
    assert Fernet(key).decrypt(Vault([key.decode()]).seal({})) == b"{}"


def test_derived_keys_differ_by_purpose_and_by_key() -> None:
    derived = {Vault([key]).derive(purpose) for key in (OLD, NEW) for purpose in ("cookies", "links")}
    assert len(derived) == 4
    assert all(len(key) == 32 for key in derived)
    assert Vault([OLD]).derive("cookies") == Vault([OLD, NEW]).derive("cookies")


def test_a_short_or_missing_key_is_refused() -> None:
    with pytest.raises(Misconfigured, match="too short"):
        Vault(["hunter2"])
    with pytest.raises(Misconfigured, match="no key"):
        Vault([])


def test_the_key_file_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, zhiban_data=tmp_path / "data", zhiban_secret_key=None)  # type: ignore[call-arg]
    with ThreadPoolExecutor(8) as pool:
        vaults = list(pool.map(lambda _: Vault.from_settings(settings), range(16)))
    sealed = vaults[0].seal(SECRETS)
    assert all(vault.open(sealed) == SECRETS for vault in vaults)
    path = tmp_path / "data" / "secret.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]

    path.chmod(0o644)
    Vault.from_settings(settings)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_setting_wins_and_several_keys_rotate(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, zhiban_data=tmp_path, zhiban_secret_key=f"{NEW}, {OLD}")  # type: ignore[call-arg]
    assert Vault.from_settings(settings).open(Vault([OLD]).seal(SECRETS)) == SECRETS
    assert not (tmp_path / "secret.key").exists()


def test_a_data_folder_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    settings = Settings(_env_file=None, zhiban_data=tmp_path / "data", zhiban_secret_key=None)  # type: ignore[call-arg]
    with pytest.raises(Misconfigured, match="key file"):
        Vault.from_settings(settings)
