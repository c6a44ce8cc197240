"""Telling our own people."""
