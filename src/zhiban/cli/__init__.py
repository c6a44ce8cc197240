"""The command line: a thin layer over the verbs that pages and API use too."""

import gc
import os
import sys

# Otherwise Pydantic reads what every installed package declares, to find plugins that we do not have.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# FastAPI asks of every parameter whether it is a model of Pydantic 1, and loads that for it: this says there is none.
sys.modules.setdefault("pydantic.v1", None)  # type: ignore[arg-type]  # Python's own way of saying so

gc.disable()  # what is imported stays, and looking through it again and again takes a tenth of the time
try:
    from zhiban.cli.app import main
finally:
    gc.enable()

__all__ = ["main"]
