from collections.abc import Callable
from typing import Any

class RecordReader:
    def __init__(
        self,
        model: type,
        written: list[tuple[str, Callable[[Any], Any] | None, int, int, int]],
        names: tuple[str, ...],
        defaults: dict[str, Any],
        skip: int,
        max_bytes: int,
        reference: Callable[[bytes], Any],
    ) -> None: ...
    def read(self, value: bytes) -> Any: ...
