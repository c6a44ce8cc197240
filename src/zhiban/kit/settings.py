"""The settings of one installation, read from the environment and from `.env`.

A setting exists only if two installations must differ. What belongs to one inbox lives in its row instead. A vendor's
own names stand beside the vendor as a `SettingsPart`; they create or update such rows at start, so that one file is
enough to run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from zhiban.kit.errors import Misconfigured

TELEGRAM_API = "https://api.telegram.org"

# The providers' public addresses, so that naming one is enough.
PROVIDERS: dict[str, tuple[str, str]] = {
    "kimi": ("https://api.moonshot.cn/v1", "kimi-latest"),
    "deepseek": ("https://api.deepseek.com/v1", "deepseek-chat"),
    "qwen": ("https://dashscope.aliyuncs.com/compatible-mode/v1", "qwen-plus"),
    "openai": ("https://api.openai.com/v1", "gpt-4.1-mini"),
    "ollama": ("http://127.0.0.1:11434/v1", "qwen3"),
}


_SENDER = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


def _is_here(host: str) -> bool:
    """Whether this name or address of a machine means this one."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def web_address(value: str) -> str:
    """The address without a slash at its end. Raises ValueError when it is none of the web."""
    if value and urlsplit(value).scheme not in ("http", "https"):
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


class SettingsPart(BaseModel):
    """Settings of one concern, all read from the same places."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        """Pasted keys often carry spaces or a newline, which no vendor's check survives."""
        return value.strip() if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, values: Any) -> Any:
        """`NAME=` means that nothing is set: the default holds, whatever kind of value it is."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if not (isinstance(value, str) and not value.strip())}


PartT = TypeVar("PartT", bound=SettingsPart)


class Settings(SettingsPart):
    _env_file: str | None = PrivateAttr(None)
    _given: dict[str, object] = PrivateAttr(default_factory=dict)

    # Where data lives
    zhiban_data: Path = Field(Path("data"), description="Folder of the bundled database and the generated secret key.")
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("DATABASE_URL", "KB_DB_URL"),
        description="Your own PostgreSQL (15 or newer with pgvector 0.8.3 or newer). Empty: the bundled one is used.",
    )
    zhiban_secret_key: SecretStr | None = Field(
        None,
        description="Encrypts stored credentials. Empty: one is generated into the data folder. "
        "Keep it with your backups; several machines must share it.",
    )

    # Where the files of messages lie
    file_store: str = Field(
        "postgres",
        description="Where pictures, voices and files of messages are kept: postgres (in the database, readable by "
        "every machine), folder:/path (one machine, or a shared file system), or s3://bucket/prefix.",
    )
    file_store_endpoint: str = Field("", description="Address of an S3-compatible store. Empty: AWS.")
    file_store_region: str = Field("", description="Region of the S3 bucket. Empty: us-east-1.")
    file_store_key: str = Field("", description="Access key id for S3.")
    file_store_secret: SecretStr = Field(SecretStr(""), description="Secret access key for S3.")

    # How we are reached
    zhiban_url: str = Field(
        "",
        description="Public address of this installation, for links in notices and for what is published with issues. "
        "Empty: taken from host and port, and nothing is published.",
    )
    zhiban_locale: Literal["zh", "en"] = Field("zh", description="Language of terminal, notices and new agents.")
    zhiban_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much is logged.")
    zhiban_log_format: Literal["text", "json"] = Field("text", description="Log lines for people or for machines.")
    zhiban_trusted_proxies: str = Field(
        "127.0.0.1",
        description="Reverse proxies whose X-Forwarded-* headers are believed: addresses or networks, comma-separated.",
    )

    zhiban_private_hosts: str = Field(
        "",
        description="Hosts in private networks that rules may call and sign-in may ask, separated by spaces. "
        "Empty: public addresses only.",
    )
    zhiban_metrics_token: SecretStr = Field(
        SecretStr(""),
        description="Bearer token for /metrics from other machines. Empty: this machine alone may read them.",
    )

    # The language model
    llm_provider: str = Field(
        "kimi", description="kimi, deepseek, qwen, openai, ollama, or any name with LLM_API_BASE."
    )
    llm_api_key: SecretStr = Field(SecretStr(""), description="Empty: answers are the knowledge base's own words.")
    llm_api_base: str = Field("", description="Any OpenAI-compatible address. Empty: the provider's own.")
    llm_model: str = Field("", description="Empty: the provider's default.")
    llm_timeout: float = Field(
        3.0, gt=0, le=300, description="Seconds that one message waits for the model at most, before falling back."
    )
    llm_price_input: float = Field(0.0, ge=0, description="Price of a million input tokens, for the cost figures.")
    llm_price_output: float = Field(0.0, ge=0, description="Price of a million output tokens, for the cost figures.")

    # Embeddings
    embedding_provider: Literal["", "local", "openai", "none"] = Field(
        "",
        description="Who turns questions into vectors: local (a small model inside Zhiban, which needs no key and no "
        "network), openai (EMBEDDING_API_BASE) or none (words only). Empty: openai when EMBEDDING_API_BASE is set, "
        "otherwise local.",
    )
    embedding_api_base: str = Field("", description="OpenAI-compatible /embeddings address.")
    embedding_api_key: SecretStr = Field(SecretStr(""), description="Key for the embeddings address.")
    embedding_model: str = Field("", description="Embedding model, for example bge-m3.")

    # Knowledge
    kb_similarity_threshold: float | None = Field(
        None,
        ge=0,
        le=2,
        description="Fixed confidence for answering. Empty: calibrated per knowledge base (advised).",
    )
    kb_top_k: int = Field(3, ge=1, le=20, description="How many passages an answer may use.")

    # Telling our own people
    notification_enabled: bool = Field(True, description="Whether people are told about handoffs.")
    notification_channel: str = Field(
        "",
        description="telegram:<chat id>, a group robot's address, or any Apprise address; several separated by spaces.",
    )
    telegram_bot_token: SecretStr = Field(SecretStr(""), description="Bot token for telegram:<chat id>.")
    telegram_api_base: str = Field(
        TELEGRAM_API, description="Base address of Telegram's API, when you go through a proxy."
    )

    # Mail to contacts
    smtp_host: str = Field("", description="Mail server that sends transcripts. Empty: none are sent by mail.")
    smtp_port: int | None = Field(None, ge=1, le=65535, description="Its port. Empty: 587, 465 or 25, as is usual.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="How the way to it is encrypted; none only for a mail server on this machine."
    )
    smtp_user: str = Field("", description="Name to sign in with there. Empty: without signing in.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password or authorisation code for it.")
    smtp_from: str = Field("", description="Address from which mails come, for example desk@example.com.")
    smtp_trust: str = Field("", description="File with certificates to believe beside those of the machine.")

    @field_validator("file_store")
    @classmethod
    def _store(cls, value: str) -> str:
        kind, _, where = value.partition(":")
        known = value == "postgres" or (kind == "folder" and where.strip()) or re.fullmatch(r"s3://[^/]+(/.*)?", value)
        if not known:
            raise ValueError("must be postgres, folder:/path or s3://bucket/prefix")
        return value

    _addresses = field_validator(
        "llm_api_base", "embedding_api_base", "telegram_api_base", "zhiban_url", "file_store_endpoint"
    )(web_address)

    @model_validator(mode="after")
    def _provider_is_known(self) -> Settings:
        if self.llm_api_key.get_secret_value() and not self.llm_api_base and self.llm_provider not in PROVIDERS:
            raise ValueError(f"LLM_PROVIDER {self.llm_provider!r} is not known; set LLM_API_BASE as well")
        return self

    @model_validator(mode="after")
    def _embedder_is_whole(self) -> Settings:
        if self.embedder == "openai" and not (self.embedding_api_base and self.embedding_model):
            raise ValueError("an embedder of your own needs both EMBEDDING_API_BASE and EMBEDDING_MODEL")
        return self

    @model_validator(mode="after")
    def _mail_has_a_sender(self) -> Settings:
        if self.smtp_host and not _SENDER.fullmatch(self.smtp_from):
            raise ValueError("SMTP_HOST needs SMTP_FROM, the bare address from which mails come")
        if self.smtp_security == "none" and self.smtp_user and self.smtp_host and not _is_here(self.smtp_host):
            raise ValueError("SMTP_SECURITY=none would send SMTP_PASSWORD in the clear to another machine")
        return self

    @property
    def embedder(self) -> str:
        """Who makes vectors: local, openai or none."""
        return self.embedding_provider or ("openai" if self.embedding_api_base else "local")

    @property
    def data(self) -> Path:
        """The data folder as an absolute path."""
        return self.zhiban_data.expanduser().absolute()

    @property
    def files_folder(self) -> Path:
        """Where the files of messages lie when they lie in a folder: FILE_STORE=folder:/path."""
        kind, _, where = self.file_store.partition(":")
        return Path(where).expanduser().absolute() if kind == "folder" else self.data / "files"

    @cached_property
    def llm_address(self) -> str:
        return self.llm_api_base or PROVIDERS.get(self.llm_provider, ("", ""))[0]

    @cached_property
    def llm_model_name(self) -> str:
        return self.llm_model or PROVIDERS.get(self.llm_provider, ("", ""))[1]

    @property
    def has_model(self) -> bool:
        return bool(self.llm_api_key.get_secret_value())

    def part(self, kind: type[PartT]) -> PartT:
        """The settings of one vendor, from the same places as these. Raises Misconfigured."""
        return _read(kind, self._env_file, self._given)


def load(env_file: str | None = ".env", **overrides: object) -> Settings:
    """The settings of this process: overrides first, then the environment, then the file, when there is one.

    Raises Misconfigured with one sentence per wrong setting.
    """
    found = _read(Settings, env_file, overrides)
    found._env_file = env_file  # noqa: SLF001 - of this module
    found._given.update(overrides)  # noqa: SLF001 - of this module
    return found


def _read(kind: type[PartT], env_file: str | None, overrides: Mapping[str, object]) -> PartT:
    try:
        written = dotenv_values(env_file, encoding="utf-8") if env_file else {}
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{env_file} is not written in UTF-8. Save it anew in that encoding.") from error
    except OSError as error:
        raise Misconfigured(f"{env_file} cannot be read: {error}") from error
    # As with most programs, kb_top_k=5 means the same as KB_TOP_K=5.
    known = {name.upper(): value for name, value in (*written.items(), *os.environ.items()) if value is not None}
    named = {
        name: known[name.upper()]
        for field, info in kind.model_fields.items()
        if field not in overrides
        for name in setting_names(field, info)
        if name.upper() in known
    }
    try:
        return kind.model_validate({**named, **overrides})
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']).upper() or 'settings'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise Misconfigured(f"The configuration has mistakes: {wrong}") from error


def setting_names(field: str, info: FieldInfo) -> Iterator[str]:
    """What a setting may be called in the environment, whatever the case of the letters."""
    alias = info.validation_alias
    yield from (str(choice) for choice in alias.choices) if isinstance(alias, AliasChoices) else (field,)
