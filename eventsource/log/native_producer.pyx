# cython: language_level=3, boundscheck=False, wraparound=False
"""Handing many records to a producer in one call, without Python's global lock and without a delivery report for each.

`Producer.produce` of confluent_kafka asks for a report of every record, whether or not anybody listens, and each report takes the
lock anew when it arrives.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from eventsource.log.native_headers cimport RawHeaders

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import cimpl


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef extern from "librdkafka.h" nogil:
    ctypedef struct rd_kafka_t
    ctypedef struct rd_kafka_topic_t
    ctypedef struct rd_kafka_headers_t
    ctypedef struct rd_kafka_error_t
    ctypedef struct Memory "struct { const void *ptr; size_t size; }":
        const void *ptr
        size_t size
    ctypedef union Argument "void":
        rd_kafka_topic_t *rkt
        int i
        int32_t i32
        Memory mem
        rd_kafka_headers_t *headers
    ctypedef struct rd_kafka_vu_t:
        int vtype
        Argument u
    int VTYPE_RKT, VTYPE_PARTITION, VTYPE_VALUE, VTYPE_KEY, VTYPE_MSGFLAGS, VTYPE_HEADERS, MSG_F_COPY, ERR_QUEUE_FULL
    int rd_kafka_error_code(const rd_kafka_error_t *error)
    int rd_kafka_error_is_fatal(const rd_kafka_error_t *error)
    const char *rd_kafka_error_string(const rd_kafka_error_t *error)
    void rd_kafka_error_destroy(rd_kafka_error_t *error)
    int rd_kafka_last_error()
    const char *rd_kafka_err2str(int code)
    rd_kafka_topic_t *rd_kafka_topic_new(rd_kafka_t *client, const char *topic, void *config)
    void rd_kafka_topic_destroy(rd_kafka_topic_t *topic)
    rd_kafka_headers_t *rd_kafka_headers_new(size_t count)
    void rd_kafka_headers_destroy(rd_kafka_headers_t *headers)
    int rd_kafka_header_add(rd_kafka_headers_t *headers, const char *name, Py_ssize_t name_size, const void *value, Py_ssize_t size)
    rd_kafka_error_t *rd_kafka_produceva(rd_kafka_t *client, const rd_kafka_vu_t *arguments, size_t count)


cdef extern from "librdkafka.h":
    const char *librdkafka_load(const char *extension_path)
    rd_kafka_t *handle_of(object client)


# Where a Producer keeps its client is not a public matter: it is known of these.
if cimpl.version().split(".")[:2] != ["2", "16"]:
    raise ImportError(f"confluent_kafka {cimpl.version()} was not tried with the compiled producer")
cdef const char *_problem = librdkafka_load(cimpl.__file__.encode())
if _problem != NULL:
    raise ImportError(f"librdkafka: {_problem.decode()}")


cdef struct Header:
    const char *name
    Py_ssize_t name_size
    const void *value
    Py_ssize_t size


cdef struct Item:
    int32_t topic
    int32_t partition
    const void *key
    size_t key_size
    const void *value
    size_t size
    int headers
    const char *raw_headers  # in the form of `RawHeaders`, or NULL: they are the next of the others


def produce(producer not None, list records not None):
    """Queues `Outgoing`s, in order; nobody hears of their delivery.

    Raises `BufferError` while the queue is full, `KafkaException`, and `RuntimeError` once the producer is closed; what came before is
    queued then.
    """
    if not isinstance(producer, Producer):
        raise TypeError(f"a confluent_kafka.Producer is wanted, not a {type(producer).__name__}")
    cdef rd_kafka_t *client = handle_of(producer)
    if client == NULL:
        raise RuntimeError("the producer is closed: make another")
    cdef Py_ssize_t count = len(records), header_count = 0, i, j, k = 0, size, h = 0
    cdef list kept = [], topics = [], headers
    cdef tuple record, pair
    cdef RawHeaders raw
    for i in range(count):
        if not isinstance(records[i], tuple) or len(records[i]) != 5:
            raise TypeError("an Outgoing is a tuple of topic, partition, key, value and headers")
        record = <tuple>records[i]
        if type(record[4]) is RawHeaders:
            continue
        headers = record[4] if type(record[4]) is list else list(record[4])
        kept.append(headers)
        header_count += len(headers)
    cdef Item *items = <Item *>malloc(count * sizeof(Item) + 1)
    cdef Header *all_headers = <Header *>malloc(header_count * sizeof(Header) + 1)
    cdef rd_kafka_topic_t **handles = <rd_kafka_topic_t **>malloc((count + 1) * sizeof(void *))
    cdef int known = 0, topic_index = 0
    cdef object topic = None
    cdef rd_kafka_error_t *error = NULL
    try:
        if items == NULL or all_headers == NULL or handles == NULL:
            raise MemoryError
        for i in range(count):
            record = <tuple>records[i]
            if record[0] is not topic:
                topic = record[0]
                if topic in topics:
                    topic_index = topics.index(topic)
                else:
                    handles[known] = rd_kafka_topic_new(client, PyUnicode_AsUTF8AndSize(topic, &size), NULL)
                    if handles[known] == NULL:
                        code = rd_kafka_last_error()
                        raise KafkaException(KafkaError(code, f"topic {topic}: {rd_kafka_err2str(code).decode()}"))
                    topics.append(topic)
                    topic_index = known
                    known += 1
            items[i].topic = topic_index
            items[i].partition = record[1]
            items[i].key = _bytes(record[2], &size)
            items[i].key_size = size
            items[i].value = _bytes(record[3], &size)
            items[i].size = size
            items[i].raw_headers = NULL
            if type(record[4]) is RawHeaders:
                raw = <RawHeaders>record[4]
                items[i].headers = raw.count
                items[i].raw_headers = raw.data
                continue
            headers = <list>kept[k]
            k += 1
            items[i].headers = <int>len(headers)
            for j in range(len(headers)):
                if not isinstance(headers[j], tuple) or len(headers[j]) != 2:
                    raise TypeError("a header is a pair of name and value")
                pair = <tuple>headers[j]
                all_headers[h].name = PyUnicode_AsUTF8AndSize(pair[0], &all_headers[h].name_size)
                all_headers[h].value = _bytes(pair[1], &all_headers[h].size)
                h += 1
        with nogil:
            error = _produce(client, handles, items, all_headers, count)
        if error != NULL:
            code, text = rd_kafka_error_code(error), rd_kafka_error_string(error).decode(errors="replace")
            is_fatal = bool(rd_kafka_error_is_fatal(error))
            rd_kafka_error_destroy(error)
            if code == ERR_QUEUE_FULL:
                raise BufferError(text)
            raise KafkaException(KafkaError(code, f"Unable to produce message: {text}", is_fatal))
    finally:
        for i in range(known):
            rd_kafka_topic_destroy(handles[i])
        free(handles)
        free(all_headers)
        free(items)


cdef inline const void *_bytes(object data, Py_ssize_t *size) except? NULL:
    """The bytes; NULL for None."""
    if data is None:
        size[0] = 0
        return NULL
    if type(data) is not bytes:
        raise TypeError(f"bytes are wanted, not {type(data).__name__}")
    size[0] = PyBytes_GET_SIZE(data)
    return PyBytes_AS_STRING(data)


cdef void _add_raw(rd_kafka_headers_t *headers, const char *at, int count) noexcept nogil:
    cdef int32_t[2] lengths
    cdef const char *value
    for _ in range(count):
        memcpy(lengths, at, 8)
        value = at + 8 + lengths[0]
        if lengths[1] < 0:
            rd_kafka_header_add(headers, at + 8, lengths[0], NULL, 0)
            at = value
        else:
            rd_kafka_header_add(headers, at + 8, lengths[0], value, lengths[1])
            at = value + lengths[1]


cdef rd_kafka_error_t *_produce(
    rd_kafka_t *client, rd_kafka_topic_t **topics, const Item *items, const Header *next_header, Py_ssize_t count
) noexcept nogil:
    """The error of the first record that was not queued; NULL: all were."""
    cdef rd_kafka_vu_t arguments[6]
    cdef rd_kafka_error_t *error
    cdef rd_kafka_headers_t *headers
    cdef Py_ssize_t i
    cdef int h
    arguments[0].vtype = VTYPE_RKT
    arguments[1].vtype = VTYPE_PARTITION
    arguments[2].vtype = VTYPE_KEY
    arguments[3].vtype = VTYPE_VALUE
    arguments[4].vtype = VTYPE_MSGFLAGS
    arguments[4].u.i = MSG_F_COPY
    arguments[5].vtype = VTYPE_HEADERS
    for i in range(count):
        headers = NULL
        if items[i].headers:
            headers = rd_kafka_headers_new(items[i].headers)
            if items[i].raw_headers != NULL:
                _add_raw(headers, items[i].raw_headers, items[i].headers)
            else:
                for h in range(items[i].headers):
                    rd_kafka_header_add(headers, next_header.name, next_header.name_size, next_header.value, next_header.size)
                    next_header += 1
        arguments[0].u.rkt = topics[items[i].topic]
        arguments[1].u.i32 = items[i].partition
        arguments[2].u.mem.ptr = items[i].key
        arguments[2].u.mem.size = items[i].key_size
        arguments[3].u.mem.ptr = items[i].value
        arguments[3].u.mem.size = items[i].size
        arguments[5].u.headers = headers
        error = rd_kafka_produceva(client, arguments, 6 if headers != NULL else 5)
        if error != NULL:
            if headers != NULL:
                rd_kafka_headers_destroy(headers)
            return error
    return NULL
