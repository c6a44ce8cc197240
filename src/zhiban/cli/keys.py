"""zhiban rotate-key."""

from __future__ import annotations

from zhiban.channels import credentials
from zhiban.cli.app import AsJson, _, app, command, say, settings, show_json
from zhiban.cli.runtime import open_app
from zhiban.container import App
from zhiban.kit.errors import Misconfigured
from zhiban.kit.settings import Settings
from zhiban.kit.vault import KEY_FILE, Vault, new_key, rewrite_key_file, split_keys
from zhiban.people import second_factor, sign_in_providers
from zhiban.tickets import logins


@command(app, "rotate-key", help=_("更换加密密钥：用新密钥重新加密所有保存的凭据（请先停止服务）"))
async def rotate_key(as_json: AsJson = False) -> None:
    """A key from the environment has to stand before the old one already; a key file is renewed here.

    In between both keys stand in the file, so that nothing is lost when this is interrupted; run it again then.
    """
    found = settings()
    keys = _keys(found)
    if found.zhiban_secret_key is None:
        rewrite_key_file(found.data, keys)
    async with open_app(found) as opened:
        resealed = await _reseal_all(opened)
    if found.zhiban_secret_key is None:
        rewrite_key_file(found.data, keys[:1])
    if as_json:
        show_json({"resealed": resealed})
    elif found.zhiban_secret_key is None:
        say(_("密钥已更换，重新加密了{n}个连接的凭据。现在可以启动服务；旧的备份仍要用旧密钥。", n=resealed))
    else:
        say(_("重新加密了{n}个连接的凭据。现在可以从ZHIBAN_SECRET_KEY里去掉旧密钥，再启动服务。", n=resealed))


def _keys(found: Settings) -> list[str]:
    """The new key, then the old ones. Raises Misconfigured."""
    if found.zhiban_secret_key is None:
        Vault.from_settings(found)  # makes the file when there is none
        return [new_key(), *split_keys((found.data / KEY_FILE).read_text("ascii"))]
    keys = split_keys(found.zhiban_secret_key.get_secret_value())
    if len(keys) < 2:
        raise Misconfigured("Put the new key before the old one, separated by a comma: ZHIBAN_SECRET_KEY=new,old.")
    return keys


async def _reseal_all(opened: App) -> int:
    """All workspaces or, when a credential opens with no key, none. Raises SealBroken."""
    workspaces = await opened.database.workspaces()
    for workspace_id in workspaces:
        async with opened.database.page_transaction(workspace_id) as tx:
            await credentials.check_open(tx, opened.vault)
            await second_factor.check_open(tx, opened.vault)
            await sign_in_providers.check_open(tx, opened.vault)
    resealed = 0
    for workspace_id in workspaces:
        async with opened.database.page_transaction(workspace_id) as tx:
            resealed += await credentials.reseal(tx, opened.vault)
            await second_factor.reseal(tx, opened.vault)
            await sign_in_providers.reseal(tx, opened.vault)
            await logins.reseal(tx, opened.vault)
    return resealed
