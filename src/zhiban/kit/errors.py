"""Errors that a person may read. Each is a sentence that says what happened and what helps."""


class ZhibanError(Exception):
    """Base of every error we raise on purpose. `str(error)` is one English sentence fit for a terminal or a log."""

    @property
    def sentence(self) -> str:
        return str(self)


class Misconfigured(ZhibanError):
    """A setting is missing or wrong; the sentence names the setting and a right value."""


class NotFound(ZhibanError):
    """The record does not exist, or the asker has no right to it. Both look the same on purpose."""


class Gone(ZhibanError):
    """It was good once and is so no longer, for instance a link that works one time."""


class Conflict(ZhibanError):
    """The record changed meanwhile, so the wish no longer fits its state."""


class Unavailable(ZhibanError):
    """Something we need (database, vendor, model) does not answer now. Trying again later may help."""
