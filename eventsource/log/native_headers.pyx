# cython: language_level=3, boundscheck=False, wraparound=False
"""Headers of the framework's records, in machine code: what `headers.py` and `header_reading.py` do, for what is plainly right.

Whatever is unusual gives None, and Python's own reader takes it: so there is one place that knows what is wrong, and how to say it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy

from eventsource.log.native_bytes cimport write_uint32
from eventsource.log.native_tuples cimport new_tuple, put

from sys import byteorder

from eventsource.errors import HeaderError


cdef extern from "blake2b.h" nogil:
    ctypedef struct blake2b_t:
        pass
    void blake2b_begin(blake2b_t *state)
    void blake2b_add(blake2b_t *state, const void *data, size_t size)
    void blake2b_end(blake2b_t *state, uint8_t *digest)


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef enum:
    VERSION = 1
    COMMAND = 1
    EVENT = 2
    COMMAND_BYTES = 39
    EVENT_BYTES = 47
    NO_TRAIL_BYTES = 6
    MAX_COMMAND_ID_BYTES = 1024
    MAX_TRACE_PARENT_BYTES = 512
    MAX_HEADERS_BYTES = 1 << 30


@cython.auto_pickle(False)  # it would take the bytes for a text that ends with a zero
cdef class RawHeaders:
    """The headers of one record: pairs of name and value, made when somebody looks at them.

    In memory: for each header the lengths of name and value (-1: null), then both.
    """

    def __dealloc__(self):
        free(self.data)

    def __len__(self):
        return self.count

    def __iter__(self):
        return iter(self.pairs())

    def __getitem__(self, index):
        return self.pairs()[index]

    def __eq__(self, other):
        if not isinstance(other, (RawHeaders, list, tuple)):
            return NotImplemented
        return self.pairs() == list(other)

    def __repr__(self):
        return repr(self.pairs())

    def __reduce__(self):
        return raw_headers, (self.pairs(),)

    cpdef list pairs(self):
        cdef list found = []
        cdef const char *at = self.data
        cdef int32_t lengths[2]
        cdef object value
        for _ in range(self.count):
            memcpy(lengths, at, 8)
            at += 8
            name = PyUnicode_DecodeUTF8(at, lengths[0], NULL)
            at += lengths[0]
            if lengths[1] < 0:
                value = None
            else:
                value = PyBytes_FromStringAndSize(at, lengths[1])
                at += lengths[1]
            found.append((name, value))
        return found


cdef struct Text:
    const char *at
    int32_t size  # -1: null or not there


cdef struct Fields:
    Text id
    Text source
    Text type
    Text sequence
    Text es
    Text traceparent
    bint unusual  # a header is there that only Python's reader reads


cdef void find_fields(RawHeaders headers, Fields *found) noexcept:
    cdef const char *at = headers.data
    cdef const char *name
    cdef int32_t lengths[2]
    cdef Text text
    cdef Text nothing
    nothing.at, nothing.size = NULL, -1
    found.id = found.source = found.type = found.sequence = found.es = found.traceparent = nothing
    found.unusual = False
    for _ in range(headers.count):
        memcpy(lengths, at, 8)
        name = at + 8
        text.at, text.size = name + lengths[0], lengths[1]
        at = text.at + (lengths[1] if lengths[1] > 0 else 0)
        # Of several with one name the last counts, as in a dict.
        if lengths[0] == 2 and memcmp(name, b"es", 2) == 0:
            found.es = text
        elif lengths[0] == 5 and memcmp(name, b"ce_id", 5) == 0:
            found.id = text
        elif lengths[0] == 7 and memcmp(name, b"ce_type", 7) == 0:
            found.type = text
        elif lengths[0] == 9 and memcmp(name, b"ce_source", 9) == 0:
            found.source = text
        elif lengths[0] == 11 and memcmp(name, b"ce_sequence", 11) == 0:
            found.sequence = text
        elif lengths[0] == 11 and memcmp(name, b"traceparent", 11) == 0:
            found.traceparent = text
        elif lengths[0] == 10 and memcmp(name, b"es_content", 10) == 0:
            found.unusual = True


cdef inline uint64_t read_uint64(const char *at) noexcept:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | <uint8_t>at[i]
    return value


cdef inline uint32_t read_uint32(const char *at) noexcept:
    return <uint32_t><uint8_t>at[0] << 24 | <uint32_t><uint8_t>at[1] << 16 | <uint32_t><uint8_t>at[2] << 8 | <uint8_t>at[3]


cdef inline bint is_no_trail(const char *at) noexcept:
    return memcmp(at, b"\0\0\0\0\0\0", NO_TRAIL_BYTES) == 0


cdef inline int64_t read_digits(const char *at, Py_ssize_t size) noexcept:
    """The number that these digits write; -1 where they are none, or more than fit."""
    cdef int64_t value = 0
    cdef Py_ssize_t i
    if size < 1:
        return -1
    for i in range(size):
        if at[i] < c"0" or at[i] > c"9" or value > 900000000000000000:
            return -1
        value = value * 10 + (at[i] - c"0")
    return value


cdef inline bint holds_nul(bytes data) noexcept:
    return memchr(PyBytes_AS_STRING(data), 0, PyBytes_GET_SIZE(data)) != NULL


cdef inline object text_of(Text text):
    return PyUnicode_DecodeUTF8(text.at, text.size, NULL)


cpdef read_command(RawHeaders headers, type cls, no_trail, read_trail):
    """A `CommandHeaders`, or None: for Python's reader."""
    if headers is None or cls is None:
        raise TypeError("raw headers are wanted, and the class to make")
    cdef Fields fields
    cdef int64_t expected
    cdef int32_t reply_partition
    cdef object trail
    find_fields(headers, &fields)
    if fields.es.size < COMMAND_BYTES + NO_TRAIL_BYTES or fields.type.size < 0 or fields.source.size < 0:
        return None
    if not 0 < fields.id.size <= MAX_COMMAND_ID_BYTES:
        return None
    cdef const char *es = fields.es.at
    if es[0] != VERSION or es[1] != 0 or es[2] != COMMAND:
        return None
    try:
        command_id, type_, source = text_of(fields.id), text_of(fields.type), text_of(fields.source)
    except UnicodeDecodeError:
        return None
    if fields.es.size == COMMAND_BYTES + NO_TRAIL_BYTES and is_no_trail(es + COMMAND_BYTES):
        trail = no_trail
    else:
        trail = read_trail(PyBytes_FromStringAndSize(es, fields.es.size), COMMAND_BYTES)
    expected = <int64_t>read_uint64(es + 11)
    reply_partition = <int32_t>read_uint32(es + 19)
    client_id = PyBytes_FromStringAndSize(es + 23, 16)
    traceparent = None
    if 0 <= fields.traceparent.size <= MAX_TRACE_PARENT_BYTES:
        traceparent = PyBytes_FromStringAndSize(fields.traceparent.at, fields.traceparent.size)
    found = new_tuple(cls, 9)
    put(found, 0, command_id)
    put(found, 1, type_)
    put(found, 2, source)
    put(found, 3, <int64_t>read_uint64(es + 3))
    put(found, 4, None if expected < 0 else expected)
    put(found, 5, None if reply_partition < 0 else reply_partition)
    put(found, 6, client_id)
    put(found, 7, trail)
    put(found, 8, traceparent)
    return found


def read_requests(
    list records not None, type request_cls not None, type headers_cls not None, no_trail, read_trail, Py_ssize_t max_key_bytes
):
    """A `Request` for each `Record`, or None in its place: for Python's reader.

    `read_trail` raises `HeaderError` for a trail that no command may have.
    """
    cdef list found = []
    cdef tuple record
    cdef bytes key
    cdef object value
    for item in records:
        if not isinstance(item, tuple) or len(item) != 7:
            raise TypeError("a Record is a tuple of topic, partition, offset, time, key, value and headers")
        record = <tuple>item
        if type(record[4]) is not bytes:
            raise TypeError("the key of a Record is bytes")
        key, value = record[4], record[5]
        headers = None
        if type(record[6]) is RawHeaders and PyBytes_GET_SIZE(key) <= max_key_bytes:
            try:
                headers = read_command(record[6], headers_cls, no_trail, read_trail)
            except HeaderError:
                pass
        if headers is None or holds_nul(key) or "\0" in <str>(<tuple>headers)[0]:
            found.append(None)
            continue
        try:
            aggregate_id = key.decode()
        except UnicodeDecodeError:
            found.append(None)
            continue
        request = new_tuple(request_cls, 5)
        put(request, 0, record)
        put(request, 1, headers)
        put(request, 2, aggregate_id)
        put(request, 3, body_hash(key, <str>(<tuple>headers)[1], b"" if value is None else value))
        put(request, 4, None)
        found.append(request)
    return found


def read_event(RawHeaders headers not None, type cls not None, type origin_cls not None, no_trail, read_trail):
    """An `EventHeaders`, or None: for Python's reader."""
    cdef Fields fields
    find_fields(headers, &fields)
    if fields.es.size < EVENT_BYTES + NO_TRAIL_BYTES or fields.id.size < 0 or fields.type.size < 0 or fields.source.size < 0:
        return None
    cdef const char *es = fields.es.at
    if fields.unusual or es[0] != VERSION or es[1] != 0 or es[2] != EVENT:
        return None
    # <command id>/<i>.<n>, from behind
    cdef const char *id_at = fields.id.at
    cdef Py_ssize_t slash = fields.id.size - 1
    cdef Py_ssize_t dot = -1
    while slash >= 0 and id_at[slash] != c"/":
        if id_at[slash] == c".":
            dot = slash
        slash -= 1
    if slash < 0 or dot < 0:
        return None
    cdef int64_t index = read_digits(id_at + slash + 1, dot - slash - 1)
    cdef int64_t count = read_digits(id_at + dot + 1, fields.id.size - dot - 1)
    # <name>, or <name>.v<revision>
    cdef Text name = fields.type
    cdef int64_t revision = 1
    cdef int32_t i
    for i in range(fields.type.size - 1):
        if fields.type.at[i] == c"." and fields.type.at[i + 1] == c"v":
            name.size = i
            revision = read_digits(fields.type.at + i + 2, fields.type.size - i - 2)
            break
    cdef int64_t version = read_digits(fields.sequence.at, fields.sequence.size)
    if index < 0 or count < 0 or revision < 0 or version < 0:
        return None
    cdef Text command
    command.at, command.size = id_at, <int32_t>slash
    try:
        command_id, type_, source = text_of(command), text_of(name), text_of(fields.source)
    except UnicodeDecodeError:
        return None
    if fields.es.size == EVENT_BYTES + NO_TRAIL_BYTES and is_no_trail(es + EVENT_BYTES):
        trail = no_trail
    else:
        trail = read_trail(PyBytes_FromStringAndSize(es, fields.es.size), EVENT_BYTES)
    origin = new_tuple(origin_cls, 3)
    put(origin, 0, PyBytes_FromStringAndSize(es + 3, 16))
    put(origin, 1, <int32_t>read_uint32(es + 19))
    put(origin, 2, <int64_t>read_uint64(es + 23))
    return cls(
        command_id,
        index,
        count,
        type_,
        revision,
        source,
        version,
        origin,
        <int64_t>read_uint64(es + 31),
        PyBytes_FromStringAndSize(es + 39, 8),
        trail,
    )


cdef inline char *write_header(char *at, const char *name, Py_ssize_t name_size, const char *value, Py_ssize_t size) noexcept:
    cdef int32_t[2] lengths = [<int32_t>name_size, <int32_t>size]
    memcpy(at, lengths, 8)
    memcpy(at + 8, name, name_size)
    memcpy(at + 8 + name_size, value, size)
    return at + 8 + name_size + size


def fact_headers(tuple source not None, tuple ce_type not None, str ce_id not None, uint64_t version, bytes es not None):
    """The headers of an event or outcome, without a `traceparent`."""
    if len(source) != 2 or len(ce_type) != 2:
        raise TypeError("a header is a pair of name and value")
    cdef char sequence[20]
    cdef Py_ssize_t id_size, source_name_size, type_name_size
    cdef const char *id_at = PyUnicode_AsUTF8AndSize(ce_id, &id_size)
    cdef const char *source_name = PyUnicode_AsUTF8AndSize(source[0], &source_name_size)
    cdef const char *type_name = PyUnicode_AsUTF8AndSize(ce_type[0], &type_name_size)
    cdef bytes source_value = source[1], type_value = ce_type[1]
    if source_value is None or type_value is None:
        raise TypeError("source and type have a value")
    cdef int i
    for i in range(19, -1, -1):
        sequence[i] = c"0" + <char>(version % 10)
        version //= 10
    cdef Py_ssize_t size = 6 * 8 + 14 + 3 + 5 + id_size + source_name_size + PyBytes_GET_SIZE(source_value)
    size += type_name_size + PyBytes_GET_SIZE(type_value) + 11 + 20 + 2 + PyBytes_GET_SIZE(es)
    if size > MAX_HEADERS_BYTES:
        raise OverflowError("headers of more than a gigabyte")
    cdef RawHeaders found = RawHeaders.__new__(RawHeaders)
    found.data = <char *>malloc(size)
    if found.data == NULL:
        raise MemoryError
    found.count = 6
    cdef char *at = write_header(found.data, b"ce_specversion", 14, b"1.0", 3)
    at = write_header(at, b"ce_id", 5, id_at, id_size)
    at = write_header(at, source_name, source_name_size, PyBytes_AS_STRING(source_value), PyBytes_GET_SIZE(source_value))
    at = write_header(at, type_name, type_name_size, PyBytes_AS_STRING(type_value), PyBytes_GET_SIZE(type_value))
    at = write_header(at, b"ce_sequence", 11, sequence, 20)
    write_header(at, b"es", 2, PyBytes_AS_STRING(es), PyBytes_GET_SIZE(es))
    return found


cpdef bytes body_hash(bytes key, str type_, bytes body):
    """The 8-byte BLAKE2b hash of a command's key, type and value."""
    if key is None or type_ is None or body is None:
        raise TypeError("key and body are bytes, and the type is a text")
    cdef blake2b_t state
    cdef uint8_t digest[8]
    cdef Py_ssize_t type_size
    cdef const char *type_at = PyUnicode_AsUTF8AndSize(type_, &type_size)
    cdef Py_ssize_t key_size = PyBytes_GET_SIZE(key)
    cdef uint8_t length[4]
    write_uint32(<char *>length, <uint32_t>key_size)
    blake2b_begin(&state)
    blake2b_add(&state, length, 4)
    blake2b_add(&state, PyBytes_AS_STRING(key), key_size)
    blake2b_add(&state, type_at, type_size)
    blake2b_add(&state, b"\0", 1)
    blake2b_add(&state, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    blake2b_end(&state, digest)
    return PyBytes_FromStringAndSize(<char *>digest, 8)


def raw_headers(list pairs not None):
    """The headers of a record as a consumer makes them, of pairs of name and value."""
    cdef RawHeaders found = RawHeaders.__new__(RawHeaders)
    cdef bytes data = b"".join(
        [
            len(name.encode()).to_bytes(4, byteorder, signed=True)
            + (-1 if value is None else len(value)).to_bytes(4, byteorder, signed=True)
            + name.encode()
            + (value or b"")
            for name, value in pairs
        ]
    )
    found.data = <char *>malloc(len(data) + 1)
    if found.data == NULL:
        raise MemoryError
    memcpy(found.data, PyBytes_AS_STRING(data), len(data))
    found.count = <int>len(pairs)
    return found
