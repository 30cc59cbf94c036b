from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from eventsource.log.headers import CommandHeaders, EventHeaders, Origin, Trail
from eventsource.log.record import Record

R = TypeVar("R")

class RawHeaders(Sequence[tuple[str, bytes | None]]):
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any) -> Any: ...
    def pairs(self) -> list[tuple[str, bytes | None]]: ...

def read_command(
    headers: RawHeaders,
    cls: type[CommandHeaders],
    no_trail: Trail,
    read_trail: Callable[[bytes, int], Trail],
) -> CommandHeaders | None: ...
def read_requests(
    records: list[Record],
    request_cls: type[R],
    headers_cls: type[CommandHeaders],
    no_trail: Trail,
    read_trail: Callable[[bytes, int], Trail],
    max_key_bytes: int,
) -> list[R | None]: ...
def read_event(
    headers: RawHeaders,
    cls: type[EventHeaders],
    origin_cls: type[Origin],
    no_trail: Trail,
    read_trail: Callable[[bytes, int], Trail],
) -> EventHeaders | None: ...
def fact_headers(
    source: tuple[str, bytes], ce_type: tuple[str, bytes], ce_id: str, version: int, es: bytes
) -> RawHeaders: ...
def body_hash(key: bytes, type_: str, body: bytes) -> bytes: ...
def raw_headers(pairs: list[tuple[str, bytes | None]]) -> RawHeaders: ...
