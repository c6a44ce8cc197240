"""The command line: thin doors to the same verbs that pages and API use."""

from zhiban.cli.app import main

__all__ = ["main"]
