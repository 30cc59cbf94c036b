# cython: language_level=3, boundscheck=False, wraparound=False
"""`EventRecords` in machine code: the headers of an event in one block, and all of its record in one call."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy

from eventsource.log.native_bytes cimport write_uint32, write_uint64
from eventsource.log.native_headers cimport RawHeaders
from eventsource.log.native_tuples cimport new_tuple, put

from eventsource.log.record import Outgoing


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef enum:
    VERSION = 1
    EVENT = 2
    EVENT_BYTES = 47
    DIGITS = 20
    MAX_HEADERS_BYTES = 1 << 30


cdef class EventRecords:
    cdef str topic
    cdef object partition
    cdef bytes source_name
    cdef bytes source
    cdef bytes topic_id
    cdef type outgoing

    def __init__(self, str topic not None, int32_t partition, tuple source not None, bytes topic_id not None):
        if PyBytes_GET_SIZE(topic_id) != 16:
            raise ValueError("a topic id has 16 bytes")
        name, value = source
        self.topic, self.partition, self.topic_id = topic, partition, topic_id
        self.source_name, self.source = name.encode(), value
        self.outgoing = Outgoing

    def __reduce__(self):
        raise TypeError("an EventRecords cannot be copied: make another")

    def event(
        self,
        object command,
        str command_id not None,
        bytes body_hash not None,
        bytes trail not None,
        tuple ce_type not None,
        bytes value not None,
        uint64_t version,
        uint32_t index,
        uint32_t count,
    ):
        """See `event_records.EventRecords.event`."""
        if not isinstance(command, tuple) or len(command) != 7 or len(ce_type) != 2 or PyBytes_GET_SIZE(body_hash) != 8:
            raise TypeError("a Record is a tuple of seven, a header a pair of name and value, and a body hash of 8 bytes")
        cdef Py_ssize_t id_size, type_name_size
        cdef const char *id_at = PyUnicode_AsUTF8AndSize(command_id, &id_size)
        cdef const char *type_name = PyUnicode_AsUTF8AndSize(ce_type[0], &type_name_size)
        cdef tuple origin = <tuple>command
        cdef bytes type_value = ce_type[1], key = origin[4]
        if type_value is None or key is None:
            raise TypeError("a type has a value, and a record a key")
        cdef char place[DIGITS * 2 + 2]  # of the event in its command
        place[0] = c"/"
        cdef Py_ssize_t place_size = 1 + write_digits(place + 1, index)
        place[place_size] = c"."
        place_size += 1
        place_size += write_digits(place + place_size, count)
        cdef Py_ssize_t es_size = EVENT_BYTES + PyBytes_GET_SIZE(trail)
        cdef Py_ssize_t size = 6 * 8 + 14 + 3 + 5 + id_size + place_size + 11 + DIGITS + 2 + es_size
        size += PyBytes_GET_SIZE(self.source_name) + PyBytes_GET_SIZE(self.source)
        size += type_name_size + PyBytes_GET_SIZE(type_value)
        if size > MAX_HEADERS_BYTES:
            raise OverflowError("headers of more than a gigabyte")
        cdef int32_t origin_partition = origin[1]
        cdef int64_t origin_offset = origin[2], time_ms = origin[3]
        cdef RawHeaders headers = RawHeaders.__new__(RawHeaders)
        headers.data = <char *>malloc(size)
        if headers.data == NULL:
            raise MemoryError
        headers.count = 6
        cdef char *at = begin_header(headers.data, b"ce_specversion", 14, 3)
        at = write(at, b"1.0", 3)
        at = begin_header(at, b"ce_id", 5, id_size + place_size)
        at = write(write(at, id_at, id_size), place, place_size)
        at = begin_header(at, PyBytes_AS_STRING(self.source_name), PyBytes_GET_SIZE(self.source_name), PyBytes_GET_SIZE(self.source))
        at = write(at, PyBytes_AS_STRING(self.source), PyBytes_GET_SIZE(self.source))
        at = begin_header(at, type_name, type_name_size, PyBytes_GET_SIZE(type_value))
        at = write(at, PyBytes_AS_STRING(type_value), PyBytes_GET_SIZE(type_value))
        at = begin_header(at, b"ce_sequence", 11, DIGITS)
        cdef int i
        for i in range(DIGITS - 1, -1, -1):
            at[i] = c"0" + <char>(version % 10)
            version //= 10
        at = begin_header(at + DIGITS, b"es", 2, es_size)
        at[0], at[1], at[2] = VERSION, 0, EVENT
        at = write(at + 3, PyBytes_AS_STRING(self.topic_id), 16)
        at = write_uint64(write_uint64(write_uint32(at, <uint32_t>origin_partition), <uint64_t>origin_offset), <uint64_t>time_ms)
        at = write(at, PyBytes_AS_STRING(body_hash), 8)
        write(at, PyBytes_AS_STRING(trail), PyBytes_GET_SIZE(trail))
        made = new_tuple(self.outgoing, 5)
        put(made, 0, self.topic)
        put(made, 1, self.partition)
        put(made, 2, key)
        put(made, 3, value)
        put(made, 4, headers)
        return made


cdef inline char *write(char *at, const char *data, Py_ssize_t size) noexcept:
    memcpy(at, data, size)
    return at + size


cdef inline char *begin_header(char *at, const char *name, Py_ssize_t name_size, Py_ssize_t value_size) noexcept:
    cdef int32_t[2] lengths = [<int32_t>name_size, <int32_t>value_size]
    memcpy(at, lengths, 8)
    memcpy(at + 8, name, name_size)
    return at + 8 + name_size


cdef inline Py_ssize_t write_digits(char *at, uint32_t number) noexcept:
    """Writes a number in digits, and says how many."""
    cdef char digits[DIGITS]
    cdef Py_ssize_t size = 0
    cdef Py_ssize_t i
    while True:
        digits[size] = c"0" + <char>(number % 10)
        number //= 10
        size += 1
        if number == 0:
            break
    for i in range(size):
        at[i] = digits[size - 1 - i]
    return size
