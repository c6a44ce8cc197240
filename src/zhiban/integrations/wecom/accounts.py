"""Customer-service accounts: which there are, and the links that lead to them."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from zhiban.integrations.wecom.api import WeComApi
from zhiban.integrations.wecom.values import items_of, text_of
from zhiban.kit.frozen_dataclass import frozen_dataclass

_AT_ONCE: Final = 100
_MOST_PAGES: Final = 100


@frozen_dataclass
class KfAccount:
    """`managed` tells whether the API may work with the account."""

    open_kfid: str
    name: str
    avatar_url: str
    managed: bool


class KfAccounts:
    """Every method raises SendRefused, TryLater or ConnectionBroken."""

    def __init__(self, api: WeComApi) -> None:
        self._api = api

    async def accounts(self) -> list[KfAccount]:
        """All accounts of the corp."""
        found: list[KfAccount] = []
        for page in range(_MOST_PAGES):
            answer = await self._api.call("kf/account/list", {"offset": page * _AT_ONCE, "limit": _AT_ONCE})
            entries = items_of(answer, "account_list")
            found.extend(
                KfAccount(
                    text_of(entry, "open_kfid"),
                    text_of(entry, "name"),
                    text_of(entry, "avatar"),
                    entry.get("manage_privilege") is not False,
                )
                for entry in entries
                if text_of(entry, "open_kfid")
            )
            if len(entries) < _AT_ONCE:
                break
        return found

    async def contact_link(self, open_kfid: str, *, scene: str = "", scene_param: str = "") -> str:
        """A link that opens the chat. `scene` (32 letters, digits, `_-`) and `scene_param` come back in Entered."""
        body = {"open_kfid": open_kfid, "scene": scene} if scene else {"open_kfid": open_kfid}
        link = text_of(await self._api.call("kf/add_contact_way", body), "url")
        return f"{link}&scene_param={quote(scene_param, safe='')}" if scene and scene_param else link
