from __future__ import annotations

import struct

from eventsource.log.event_records import EventRecords
from eventsource.log.headers import Trail, source_header, trail_bytes, type_header
from eventsource.log.record import Outgoing, Record


def test_the_record_of_an_event_says_which_one_of_which_command_it_is() -> None:
    records = EventRecords("b.account.events", 3, source_header("/b/account"), bytes(range(16)))
    command = Record("b.account.commands", 3, 70, 1_000, b"acc-1", b"body")
    trail = trail_bytes(Trail(correlation_id="order-7"))
    made = records.event(command, "c-1", b"8 bytes.", trail, type_header("deposited", 2), b"value", 9, 2, 3)
    fixed = struct.pack(">BBB16siqq8s", 1, 0, 2, bytes(range(16)), 3, 70, 1_000, b"8 bytes.")
    assert made == Outgoing(
        "b.account.events",
        3,
        b"acc-1",
        b"value",
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"c-1/2.3"),
            ("ce_source", b"/b/account"),
            ("ce_type", b"deposited.v2"),
            ("ce_sequence", b"00000000000000000009"),
            ("es", fixed + b"\0\x07order-7" + b"\0\0\0\0"),
        ],
    )
