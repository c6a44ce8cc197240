"""What the contract of channels needs of each: the people on its other side and the mishaps of its wire."""

from __future__ import annotations

from abc import ABC, abstractmethod

from zhiban.ports import Channel, IncomingMessage, LinkCard, Polls, Vendor, VerifiedWebhook, Webhook


class Stand(ABC):
    """A channel, the people on its other side, and the mishaps of its wire."""

    contact = "lihua"
    known = "m1"  # a message that can be answered, by its id
    provable = True  # there is something that its vendor can be asked about our credentials
    vendor: Vendor
    channel: Channel

    @abstractmethod
    async def says(self, text: str) -> Webhook | None:
        """The contact writes; the genuine call that follows, unless the vendor is listened to."""

    @abstractmethod
    def arrived(self) -> list[str]:
        """The texts that the contact sees."""

    @abstractmethod
    def files(self) -> list[bytes]:
        """The files that the contact sees."""

    def answered(self) -> list[str]:
        """The ids of the messages that answers name."""
        return []

    def cards(self) -> list[LinkCard]:
        """The cards with links that the contact sees."""
        raise NotImplementedError

    def formatted(self) -> list[str]:
        """The texts that arrived with the marks of their writer."""
        return []

    def lose_files(self) -> None:
        """What was handed over before a message is there no more, where it is kept at all."""
        raise NotImplementedError

    @abstractmethod
    def busy(self) -> None:
        """The next message is not taken."""

    @abstractmethod
    def lost(self) -> None:
        """The next message is taken and the answer never comes."""

    @abstractmethod
    def refused(self) -> None:
        """The next message is refused for good, because of the contact."""

    @abstractmethod
    def broken(self) -> None:
        """Nothing is taken until an operator mends it."""

    async def may_answer(self) -> None:
        """Whatever has to happen before we may write."""
        await self.says("在吗")

    async def heard(self, webhook: Webhook | None) -> list[IncomingMessage]:
        """The messages that a call brings, by whatever way the channel has."""
        assert webhook is not None
        found = self.vendor.authenticate(webhook)
        assert isinstance(found, VerifiedWebhook)
        items = list(self.channel.read(found.body))
        if found.pulls:
            assert isinstance(self.channel, Polls)
            items = list((await self.channel.pull(cursor=None, token=found.token)).items)
        return [item for item in items if isinstance(item, IncomingMessage)]
