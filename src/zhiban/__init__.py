"""Zhiban (值班): the on-duty desk for chat communities and customer service."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("zhiban")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+source"
