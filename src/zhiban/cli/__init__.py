"""The command line: a thin layer over the verbs that pages and API use too."""

import os

# Otherwise Pydantic reads what every installed package declares, to find plugins that we do not have.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from zhiban.cli.app import main

__all__ = ["main"]
