"""The reference codec: fastavro on plain data, with every check, and errors that say where.

Generated codecs give the same bytes and the same messages; whatever they do not take as plainly right is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import fastavro

from eventsource.errors import DecodeError, EncodeError
from eventsource.schemas.dumping import Dump
from eventsource.schemas.fingerprint import without_logical_types
from eventsource.schemas.limits import Limits
from eventsource.schemas.loading import Load
from eventsource.schemas.location import Located
from eventsource.schemas.nesting import NestingCheck

Write = Callable[[Any], bytes]
Read = Callable[[bytes], Any]

_DEEP: Final = "the message nests deeper than {limit} levels: flatten it, or refer by id"


def reference_writer(schema: dict[str, Any], dump: Dump, prefix: bytes, limits: Limits) -> Write:
    """A function from a message to `prefix` and its body. It raises `EncodeError`."""
    name = schema["name"]
    plain = without_logical_types(schema)
    nesting = NestingCheck(plain)
    parsed = fastavro.parse_schema(plain)
    write = fastavro.schemaless_writer

    def encode(message: Any) -> bytes:
        buffer = BytesIO()
        buffer.write(prefix)
        try:
            write(buffer, parsed, dump(message))
        except Located as error:
            raise EncodeError(error.text(name)) from error
        except EncodeError as error:  # not the message's class at all
            raise EncodeError(f"{name}: {error}") from error
        except UnicodeEncodeError as error:
            raise EncodeError(
                f"{name}: a str holds a lone surrogate, which UTF-8 cannot: clean the text before it becomes a message"
            ) from error
        value = buffer.getvalue()
        if len(value) > limits.body_bytes:
            raise EncodeError(
                f"{name}: {len(value)} bytes are more than the {limits.body_bytes} that a reader takes: keep large data "
                "elsewhere, and refer to it"
            )
        if nesting.needed and nesting.is_deeper(value[len(prefix) :], limits.nesting):
            raise EncodeError(f"{name}: {_DEEP.format(limit=limits.nesting)}")
        return value

    return encode


def reference_reader(schema: dict[str, Any], load: Load, skip: int, limits: Limits) -> Read:
    """A function from `skip` bytes of prefix and a body, written with `schema`, to a message. It raises `DecodeError`."""
    name = schema["name"]
    plain = without_logical_types(schema)
    nesting = NestingCheck(plain)
    parsed = fastavro.parse_schema(plain)
    read = fastavro.schemaless_reader

    def decode(value: bytes) -> Any:
        if len(value) > limits.body_bytes:
            raise DecodeError(f"{name}: {len(value)} bytes are more than the {limits.body_bytes} that are read")
        stream = BytesIO(value)
        stream.seek(skip)
        try:
            too_deep = nesting.needed and nesting.is_deeper(value[skip:], limits.nesting)
            record = None if too_deep else read(stream, parsed, return_named_type=True)
        except Exception as error:  # fastavro's own ReadError is private, and derives from Exception alone
            raise DecodeError(
                f"{name}: the bytes are not what their schema says ({type(error).__name__}): find out who wrote them"
            ) from error
        if too_deep:
            raise DecodeError(f"{name}: {_DEEP.format(limit=limits.nesting)}")
        if stream.read(1):
            raise DecodeError(f"{name}: bytes are left over behind the message: find out who wrote them")
        try:
            return load(record)
        except Located as error:
            raise DecodeError(error.text(name)) from error

    return decode
