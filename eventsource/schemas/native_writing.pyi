from collections.abc import Callable
from typing import Any

class RecordWriter:
    def __init__(
        self,
        model: type,
        fields: list[tuple[str, str, type | None, Callable[[Any], Any] | None, int, int, int]],
        prefix: bytes,
        max_bytes: int,
        reference: Callable[[Any], bytes],
    ) -> None: ...
    def write(self, message: Any) -> bytes: ...
