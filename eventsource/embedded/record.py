"""What a data folder remembers: who runs it, which processes belong to it, and its addresses."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eventsource.embedded.folders import write_atomically
from eventsource.embedded.processes import ProcessRecord
from eventsource.errors import EmbeddedStackMisused

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PortRecord:
    """A port that was asked for, and the one that was free. At the next start the same wish gets the same port."""

    asked: int
    chosen: int


@dataclass(slots=True)
class StackRecord:
    """The content of `stack.json`. `owns_folder`: the folder was missing or empty, so all of it is the stack's; None: not recorded."""

    brokers: int
    cluster_id: str
    owns_folder: bool | None = None
    ports: dict[str, PortRecord] = field(default_factory=dict)
    supervisor: ProcessRecord | None = None
    servers: list[ProcessRecord] = field(default_factory=list)

    @staticmethod
    def path(data_dir: Path) -> Path:
        return data_dir / "stack.json"

    @classmethod
    def read(cls, data_dir: Path) -> StackRecord | None:
        """Returns None if there is none; raises `EmbeddedStackError` if it cannot be understood."""
        path = cls.path(data_dir)
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise EmbeddedStackMisused(
                    f"{path} has format {content['format']}, this version reads {_FORMAT}: use another data folder"
                )
            supervisor = content["supervisor"]
            return cls(
                brokers=int(content["brokers"]),
                cluster_id=str(content["cluster_id"]),
                owns_folder=content.get("owns_folder"),  # records of earlier versions have none
                ports={name: PortRecord(**port) for name, port in content["ports"].items()},
                supervisor=None if supervisor is None else ProcessRecord(**supervisor),
                servers=[ProcessRecord(**server) for server in content["servers"]],
            )
        except FileNotFoundError:
            return None
        except OSError as error:
            raise EmbeddedStackMisused(f"cannot read {path} ({error.strerror}): choose another data folder") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EmbeddedStackMisused(
                f"{path} is damaged ({error}): use another data folder, or delete this one"
            ) from error

    def write(self, data_dir: Path) -> None:
        """Replaces the file at once."""
        write_atomically(self.path(data_dir), json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n")

    def preferred_ports(self, name: str, asked: int) -> list[int]:
        """The ports to try for `name`, best first."""
        remembered = self.ports.get(name)
        if remembered is not None and remembered.asked == asked:
            return [remembered.chosen, asked]
        return [asked]
