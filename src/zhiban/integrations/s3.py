"""Files in an S3-compatible store (AWS, MinIO, 阿里云 OSS, 腾讯云 COS …), through obstore.

obstore is an extra of the package (`zhiban[s3]`): it brings 16 MB of native code that nobody else needs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import SecretStr

from zhiban.kit.errors import Misconfigured, Unavailable
from zhiban.kit.file_store import PIECE, FileMissing, Spool, checked
from zhiban.kit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore.store import S3Config, S3Store

TIMEOUT = timedelta(seconds=60)  # of a whole request, of 30 MB at most
RETRY_TIMEOUT = timedelta(seconds=20)  # of retries inside obstore, which are for brief faults; jobs try again later


class S3FileStore:
    """One object a file: `prefix/workspace/ab/abcd…`. A single request writes it, so it is whole or absent."""

    def __init__(
        self, bucket: str, prefix: str = "", *, endpoint: str = "", region: str = "", key: str, secret: SecretStr
    ) -> None:
        """Without an endpoint AWS is meant. Raises Misconfigured."""
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError:
            raise Misconfigured("FILE_STORE=s3://… needs the package obstore: pip install 'zhiban[s3]'") from None
        if not (key and secret.get_secret_value()):
            raise Misconfigured("FILE_STORE=s3://… needs FILE_STORE_KEY and FILE_STORE_SECRET.")
        self._obstore = obstore
        config: S3Config = {"endpoint": endpoint} if endpoint else {}
        self._store: S3Store = S3Store(
            bucket,
            prefix=prefix or None,
            region=region or "us-east-1",
            access_key_id=key,
            secret_access_key=secret.get_secret_value(),
            virtual_hosted_style_request=not endpoint,
            config=config,
            client_options={"allow_http": endpoint.startswith("http://"), "timeout": TIMEOUT},
            retry_config={"max_retries": 3, "retry_timeout": RETRY_TIMEOUT},
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> S3FileStore:
        bucket, _, prefix = settings.file_store.removeprefix("s3://").partition("/")
        return cls(
            bucket,
            prefix.strip("/"),
            endpoint=settings.file_store_endpoint,
            region=settings.file_store_region,
            key=settings.file_store_key,
            secret=settings.file_store_secret,
        )

    @staticmethod
    def _path(workspace_id: int, sha256: str) -> str:
        return f"{int(workspace_id)}/{sha256[:2]}/{checked(sha256)}"

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Missing objects become FileMissing, everything else Unavailable, without addresses and keys."""
        try:
            yield
        except (FileNotFoundError, self._obstore.exceptions.NotFoundError):
            raise FileMissing("There is no such file.") from None
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise Unavailable(f"The S3 store does not answer as it should: {type(error).__name__}.") from None

    async def keep(self, workspace_id: int, spool: Spool) -> None:
        """Written again when it is there already: an object's age cannot be renewed otherwise."""
        spool.file.seek(0)
        with self._answers():
            await self._obstore.put_async(
                self._store, self._path(workspace_id, spool.sha256), spool.file, use_multipart=False
            )

    async def read(
        self, workspace_id: int, sha256: str, *, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        if end is not None and end <= start:
            return
        path = self._path(workspace_id, sha256)
        with self._answers():
            found = await self._obstore.get_async(
                self._store, path, options={"range": (start, end) if end is not None else {"offset": start}}
            )
            async for piece in found.stream(min_chunk_size=PIECE):
                yield bytes(piece)

    async def remove(self, workspace_id: int, sha256: str, *, stored_before: datetime) -> None:
        path = self._path(workspace_id, sha256)
        try:
            with self._answers():
                found = await self._obstore.head_async(self._store, path)
                if found["last_modified"] < stored_before:
                    await self._obstore.delete_async(self._store, path)
        except FileMissing:
            return

    async def listed(self, workspace_id: int, *, stored_before: datetime) -> AsyncIterator[str]:
        with self._answers():
            async for page in self._obstore.list(self._store, prefix=f"{int(workspace_id)}/"):
                for found in page:
                    if found["last_modified"] < stored_before:
                        yield found["path"].rpartition("/")[2]
