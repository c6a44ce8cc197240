"""ChatModel and Embedder for any server that speaks OpenAI's API.

Servers differ in what they understand (`response_format`), in what they put around an answer (thoughts, a proxy's HTML,
empty choices) and in how they fail. Whatever is not an answer becomes ModelUnavailable; keys never reach an error.
"""

from zhiban.integrations.openai.chat import OpenAIChat
from zhiban.integrations.openai.embedder import OpenAIEmbedder
from zhiban.integrations.openai.server import ModelConfig

__all__ = ["ModelConfig", "OpenAIChat", "OpenAIEmbedder"]
