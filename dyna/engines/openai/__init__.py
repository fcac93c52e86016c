"""Any OpenAI-compatible server: as an engine of token ids, or as a partner in chat."""

from dyna.engines.openai.chat import ChatReply, ChatServer, Message
from dyna.engines.openai.client import ServerError
from dyna.engines.openai.engine import OpenAIEngine
from dyna.engines.openai.settings import ServerSettings, read_settings

__all__ = [
    "ChatReply",
    "ChatServer",
    "Message",
    "OpenAIEngine",
    "ServerError",
    "ServerSettings",
    "read_settings",
]
