"""The local embedder. Importing it loads no model."""

from zhiban.integrations.sentence_encoder.encoder import NAME, SentenceEncoder, installed

__all__ = ["NAME", "SentenceEncoder", "installed"]
