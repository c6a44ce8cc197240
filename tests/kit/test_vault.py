"""What is stored is unreadable without the key, and a key can be changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zhiban.kit.errors import Misconfigured
from zhiban.kit.settings import Settings
from zhiban.kit.vault import SealBroken, Vault

HERE = "connection/1/abc/secrets"
SECRETS = {"corpsecret": "非常秘密", "token": "QDG6eK", "retries": 3}
OLD, NEW = "the old key is long enough", "the new key is long enough"


def test_what_was_sealed_opens_again_and_is_unreadable_meanwhile() -> None:
    vault = Vault([OLD])
    sealed = vault.seal(SECRETS, bound_to=HERE)
    assert b"QDG6eK" not in sealed
    assert vault.open(sealed, bound_to=HERE) == SECRETS
    assert vault.seal(SECRETS, bound_to=HERE) != sealed


def test_another_key_does_not_open_it_and_says_what_helps() -> None:
    with pytest.raises(SealBroken, match="ZHIBAN_SECRET_KEY"):
        Vault([NEW]).open(Vault([OLD]).seal(SECRETS, bound_to=HERE), bound_to=HERE)
    with pytest.raises(SealBroken):
        Vault([OLD]).open(b"rubbish", bound_to=HERE)


def test_a_rotated_key_opens_the_old_and_reseals_with_the_new() -> None:
    both = Vault([NEW, OLD])
    sealed = Vault([OLD]).seal(SECRETS, bound_to=HERE)
    assert both.open(sealed, bound_to=HERE) == SECRETS
    assert Vault([NEW]).open(both.reseal(sealed, bound_to=HERE), bound_to=HERE) == SECRETS
    with pytest.raises(SealBroken):
        Vault([OLD]).open(both.reseal(sealed, bound_to=HERE), bound_to=HERE)


def test_what_is_sealed_for_one_place_does_not_open_in_another() -> None:
    """Whoever may write rows, but has no key, cannot move a credential to where its use suits them."""
    vault = Vault([OLD])
    sealed = vault.seal(SECRETS, bound_to=HERE)
    for elsewhere in ("connection/2/abc/secrets", "connection/1/abd/secrets", "connection/1/abc/token", ""):
        with pytest.raises(SealBroken):
            vault.open(sealed, bound_to=elsewhere)
        with pytest.raises(SealBroken):
            vault.reseal(sealed, bound_to=elsewhere)


def test_not_one_changed_bit_is_overlooked() -> None:
    vault = Vault([OLD])
    sealed = vault.seal(SECRETS, bound_to=HERE)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(SealBroken):
            vault.open(bytes(changed), bound_to=HERE)
    for short in (b"", sealed[:1], sealed[:10], sealed[:-1]):
        with pytest.raises(SealBroken):
            vault.open(short, bound_to=HERE)


def test_who_needs_the_old_key_is_known() -> None:
    both = Vault([NEW, OLD])
    old = Vault([OLD]).seal(SECRETS, bound_to=HERE)
    assert not both.is_current(old)
    assert both.is_current(both.reseal(old, bound_to=HERE))


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
    settings = Settings(zhiban_data=tmp_path / "data", zhiban_secret_key=None)
    with ThreadPoolExecutor(8) as pool:
        vaults = list(pool.map(lambda _: Vault.from_settings(settings), range(16)))
    sealed = vaults[0].seal(SECRETS, bound_to=HERE)
    assert all(vault.open(sealed, bound_to=HERE) == SECRETS for vault in vaults)
    path = tmp_path / "data" / "secret.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]

    path.chmod(0o644)
    Vault.from_settings(settings)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_setting_wins_and_several_keys_rotate(tmp_path: Path) -> None:
    settings = Settings(zhiban_data=tmp_path, zhiban_secret_key=f"{NEW}, {OLD}")
    assert Vault.from_settings(settings).open(Vault([OLD]).seal(SECRETS, bound_to=HERE), bound_to=HERE) == SECRETS
    assert not (tmp_path / "secret.key").exists()


def test_a_data_folder_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    settings = Settings(zhiban_data=tmp_path / "data", zhiban_secret_key=None)
    with pytest.raises(Misconfigured, match="key file"):
        Vault.from_settings(settings)
