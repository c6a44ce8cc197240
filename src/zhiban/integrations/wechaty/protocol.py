"""The few calls of the Wechaty Puppet Service that we make, as descriptors in a pool of their own.

Generated modules break between major versions of protobuf; what is built here at run time works on all of them. Nothing
of gRPC or protobuf is loaded before the first gateway is called: a server without one pays neither time nor memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from zhiban.kit.frozen_dataclass import frozen_dataclass

SERVICE: Final = "wechaty.Puppet"
_PACKAGE: Final = "wechaty.puppet"
_TIME: Final = "Timestamp"
_URL_LINK: Final = "UrlLinkPayload"

# Name, number, type on the wire, which may be another message; "*" repeats. Enums are read as integers, because their
# names differ between versions.
_MESSAGES: Final[Mapping[str, tuple[tuple[str, int, str], ...]]] = {
    _TIME: (("seconds", 1, "int64"), ("nanos", 2, "int32")),
    "EventRequest": (("seq", 1, "int32"), ("account_id", 2, "string")),
    "EventResponse": (("type", 1, "int32"), ("payload", 2, "string"), ("seq", 3, "int32")),
    "StartRequest": (),
    "StartResponse": (),
    "VersionRequest": (),
    "VersionResponse": (("version", 1, "string"),),
    "DingRequest": (("data", 1, "string"),),
    "DingResponse": (),
    "MessagePayloadRequest": (("id", 1, "string"),),
    "MessagePayloadResponse": (
        ("id", 1, "string"),
        ("filename", 2, "string"),
        ("text", 3, "string"),
        ("type", 5, "int32"),
        ("talker_id", 6, "string"),
        ("room_id", 7, "string"),
        ("listener_id", 8, "string"),
        ("mention_ids", 9, "string*"),
        ("receive_time", 10, _TIME),
        ("quote_id", 11, "string"),
    ),
    "MessageSendTextRequest": (
        ("conversation_id", 1, "string"),
        ("text", 2, "string"),
        ("mentional_ids", 3, "string*"),
        ("quote_id", 4, "string"),
    ),
    "MessageSendTextResponse": (("id", 2, "string"),),
    _URL_LINK: (("description", 1, "string"), ("title", 3, "string"), ("url", 4, "string")),
    "MessageSendUrlRequest": (("conversation_id", 1, "string"), ("url_link", 3, _URL_LINK)),
    "MessageSendUrlResponse": (("id", 2, "string"),),
    "MessageSendFileRequest": (("conversation_id", 1, "string"), ("file_box", 2, "string")),
    "MessageSendFileResponse": (("id", 2, "string"),),
    "MessageFileRequest": (("id", 1, "string"),),
    "MessageFileResponse": (("file_box", 1, "string"),),
    "MessageImageRequest": (("id", 1, "string"), ("type", 2, "int32")),
    "MessageImageResponse": (("file_box", 1, "string"),),
    "MessageRecallRequest": (("id", 1, "string"),),
    "MessageRecallResponse": (("success", 1, "bool"),),
    "UploadRequest": (("chunk", 1, "bytes"),),
    "UploadResponse": (("id", 1, "string"),),
    "DownloadRequest": (("id", 1, "string"),),
    "DownloadResponse": (("chunk", 1, "bytes"),),
    "ContactPayloadRequest": (("id", 1, "string"),),
    "ContactPayloadResponse": (("id", 1, "string"), ("name", 4, "string"), ("avatar", 5, "string")),
    "RoomPayloadRequest": (("id", 1, "string"),),
    "RoomPayloadResponse": (
        ("id", 1, "string"),
        ("topic", 2, "string"),
        ("owner_id", 4, "string"),
        ("admin_ids", 5, "string*"),
        ("member_ids", 6, "string*"),
    ),
    "RoomMemberListRequest": (("id", 1, "string"),),
    "RoomMemberListResponse": (("member_ids", 1, "string*"),),
    "RoomMemberPayloadRequest": (("id", 1, "string"), ("member_id", 2, "string")),
    "RoomMemberPayloadResponse": (
        ("id", 1, "string"),
        ("room_alias", 2, "string"),
        ("avatar", 4, "string"),
        ("name", 5, "string"),
    ),
    "FriendshipPayloadRequest": (("id", 1, "string"),),
    "FriendshipPayloadResponse": (
        ("id", 1, "string"),
        ("contact_id", 2, "string"),
        ("hello", 3, "string"),
        ("type", 4, "int32"),
    ),
    "FriendshipAcceptRequest": (("id", 1, "string"),),
    "FriendshipAcceptResponse": (),
    "RoomInvitationPayloadRequest": (("id", 1, "string"),),
    "RoomInvitationPayloadResponse": (("id", 1, "string"), ("inviter_id", 2, "string"), ("topic", 3, "string")),
    "RoomInvitationAcceptRequest": (("id", 1, "string"),),
    "RoomInvitationAcceptResponse": (),
}

STREAMED_ANSWER: Final = frozenset({"Event", "Download"})
STREAMED_REQUEST: Final = frozenset({"Upload"})
CALLS: Final = tuple(name.removesuffix("Request") for name in _MESSAGES if name.endswith("Request"))


@frozen_dataclass
class Wire:
    """gRPC itself and the classes of the messages, by name."""

    grpc: Any
    messages: Mapping[str, Any]

    def path(self, call: str) -> str:
        return f"/{SERVICE}/{call}"


@cache
def wire() -> Wire:
    """Loads gRPC, 40 MB and half a second; call it in a thread."""
    # Read by gRPC when it is loaded: it would write to the terminal, and meddle with processes that we start.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    import grpc.aio
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    types = {
        "string": field.TYPE_STRING,
        "bytes": field.TYPE_BYTES,
        "bool": field.TYPE_BOOL,
        "int32": field.TYPE_INT32,
        "int64": field.TYPE_INT64,
    }
    file = descriptor_pb2.FileDescriptorProto(name="zhiban/wechaty.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            message.field.add(
                name=field_name,
                number=number,
                type=types.get(kind.removesuffix("*"), field.TYPE_MESSAGE),
                label=field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL,
                type_name=f".{_PACKAGE}.{kind}" if kind in _MESSAGES else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
    }
    return Wire(grpc, found)
