"""The command line: a thin layer over the verbs that pages and API use too."""

from zhiban.cli.app import main

__all__ = ["main"]
