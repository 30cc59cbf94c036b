# cython: language_level=3, boundscheck=False, wraparound=False
"""A consumer that makes records of many messages at a time, most of it without Python's global lock.

It is told its partitions and joins no group. It has a client of its own, and no callbacks but one that notes errors: what
confluent_kafka's `Consumer` makes of a message, and of each header, is made once more into a record.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, strcmp, strlen, strncpy
from posix.unistd cimport getpid, pid_t

from eventsource.log.native_headers cimport RawHeaders
from eventsource.log.native_tuples cimport new_tuple, put

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import cimpl

from eventsource.log.fetch_error import FetchError
from eventsource.log.record import UNREADABLE_HEADERS, Record


cdef extern from "librdkafka.h" nogil:
    ctypedef struct rd_kafka_t
    ctypedef struct rd_kafka_conf_t
    ctypedef struct rd_kafka_queue_t
    ctypedef struct rd_kafka_topic_t
    ctypedef struct rd_kafka_headers_t
    ctypedef struct rd_kafka_error_t
    ctypedef struct rd_kafka_message_t:
        int err
        rd_kafka_topic_t *rkt
        int32_t partition
        void *payload
        size_t len
        void *key
        size_t key_len
        int64_t offset
    ctypedef struct rd_kafka_topic_partition_t:
        int64_t offset
        int err
    ctypedef struct rd_kafka_topic_partition_list_t:
        rd_kafka_topic_partition_t *elems
    ctypedef struct rd_kafka_metadata_topic_t:
        int err
    ctypedef struct rd_kafka_metadata_t:
        int topic_cnt
        rd_kafka_metadata_topic_t *topics
    int TYPE_CONSUMER, CONF_OK, ERR_FATAL, DESTROY_NO_CONSUMER_CLOSE
    const char *rd_kafka_err2str(int code)
    int rd_kafka_last_error()
    int rd_kafka_error_code(const rd_kafka_error_t *error)
    const char *rd_kafka_error_string(const rd_kafka_error_t *error)
    void rd_kafka_error_destroy(rd_kafka_error_t *error)
    int rd_kafka_fatal_error(rd_kafka_t *client, char *text, size_t size)
    rd_kafka_conf_t *rd_kafka_conf_new()
    void rd_kafka_conf_destroy(rd_kafka_conf_t *config)
    int rd_kafka_conf_set(rd_kafka_conf_t *config, const char *name, const char *value, char *text, size_t size)
    void rd_kafka_conf_set_error_cb(
        rd_kafka_conf_t *config, void (*callback)(rd_kafka_t *, int, const char *, void *) noexcept nogil
    )
    void rd_kafka_conf_set_opaque(rd_kafka_conf_t *config, void *opaque)
    rd_kafka_t *rd_kafka_new(int type, rd_kafka_conf_t *config, char *text, size_t size)
    void rd_kafka_destroy(rd_kafka_t *client)
    void rd_kafka_destroy_flags(rd_kafka_t *client, int flags)
    int rd_kafka_consumer_close(rd_kafka_t *client)
    int rd_kafka_poll_set_consumer(rd_kafka_t *client)
    rd_kafka_queue_t *rd_kafka_queue_get_consumer(rd_kafka_t *client)
    void rd_kafka_queue_destroy(rd_kafka_queue_t *queue)
    Py_ssize_t rd_kafka_consume_batch_queue(rd_kafka_queue_t *queue, int timeout_ms, rd_kafka_message_t **messages, size_t size)
    void rd_kafka_message_destroy(rd_kafka_message_t *message)
    int64_t rd_kafka_message_timestamp(const rd_kafka_message_t *message, int *type)
    int rd_kafka_message_headers(const rd_kafka_message_t *message, rd_kafka_headers_t **headers)
    size_t rd_kafka_header_cnt(const rd_kafka_headers_t *headers)
    int rd_kafka_header_get_all(
        const rd_kafka_headers_t *headers, size_t index, const char **name, const void **value, size_t *size
    )
    rd_kafka_topic_t *rd_kafka_topic_new(rd_kafka_t *client, const char *topic, void *config)
    void rd_kafka_topic_destroy(rd_kafka_topic_t *topic)
    const char *rd_kafka_topic_name(const rd_kafka_topic_t *topic)
    int rd_kafka_metadata(
        rd_kafka_t *client, int all_topics, rd_kafka_topic_t *topic, const rd_kafka_metadata_t **found, int timeout_ms
    )
    void rd_kafka_metadata_destroy(const rd_kafka_metadata_t *found)
    rd_kafka_topic_partition_list_t *rd_kafka_topic_partition_list_new(int size)
    rd_kafka_topic_partition_t *rd_kafka_topic_partition_list_add(
        rd_kafka_topic_partition_list_t *partitions, const char *topic, int32_t partition
    )
    void rd_kafka_topic_partition_list_destroy(rd_kafka_topic_partition_list_t *partitions)
    int rd_kafka_assign(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *partitions)
    rd_kafka_error_t *rd_kafka_incremental_assign(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *partitions)
    rd_kafka_error_t *rd_kafka_incremental_unassign(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *partitions)
    int rd_kafka_position(rd_kafka_t *client, rd_kafka_topic_partition_list_t *partitions)


cdef extern from "librdkafka.h":
    const char *librdkafka_load(const char *extension_path)


cdef const char *_problem = librdkafka_load(cimpl.__file__.encode())
if _problem != NULL:
    raise ImportError(f"librdkafka: {_problem.decode()}")


cdef enum:
    NOTED = 16
    TEXT_BYTES = 512


cdef struct Note:
    int code
    char text[TEXT_BYTES]


cdef struct Notes:
    Note notes[NOTED]
    int count


cdef struct Packed:
    char *data
    Py_ssize_t size
    int count
    bint is_ascii  # of the names


cdef void note_error(rd_kafka_t *client, int code, const char *reason, void *opaque) noexcept nogil:
    """librdkafka's `error_cb`. It runs in the thread that reads, which tells of it when it has the lock again."""
    cdef Notes *notes = <Notes *>opaque
    cdef Note *note
    if notes.count == NOTED and code == ERR_FATAL:
        notes.count -= 1  # of many, one must not be missed
    if notes.count < NOTED:
        note = &notes.notes[notes.count]
        note.code = code
        strncpy(note.text, reason, TEXT_BYTES - 1)
        notes.count += 1


cdef class NativeConsumer:
    """Belongs to one thread. `report` is called with the `KafkaError`s that concern the whole client, in that thread.

    In a forked child it is closed without a trace: its threads are the parent's.
    """

    cdef rd_kafka_t *client
    cdef rd_kafka_queue_t *queue
    cdef Notes *notes
    cdef pid_t process_id
    cdef object report
    cdef bytes topic_name  # of the last record, and the same as a text
    cdef str topic

    def __cinit__(self, dict config not None, report):
        """`config` holds texts alone. Raises `KafkaException` for what librdkafka does not take."""
        cdef char text[TEXT_BYTES]
        cdef rd_kafka_conf_t *settings
        self.process_id = getpid()
        self.report = report
        self.topic_name, self.topic = b"", ""
        self.notes = <Notes *>calloc(1, sizeof(Notes))
        if self.notes == NULL:
            raise MemoryError
        pairs = [(name.encode(), value.encode()) for name, value in config.items()]
        settings = rd_kafka_conf_new()
        for name, value in pairs:
            if rd_kafka_conf_set(settings, <bytes>name, <bytes>value, text, TEXT_BYTES) != CONF_OK:
                rd_kafka_conf_destroy(settings)
                raise KafkaException(KafkaError(KafkaError._INVALID_ARG, text.decode(errors="replace")))
        rd_kafka_conf_set_opaque(settings, self.notes)
        rd_kafka_conf_set_error_cb(settings, note_error)
        with nogil:
            self.client = rd_kafka_new(TYPE_CONSUMER, settings, text, TEXT_BYTES)
        if self.client == NULL:
            rd_kafka_conf_destroy(settings)
            raise KafkaException(KafkaError(rd_kafka_last_error(), text.decode(errors="replace")))
        rd_kafka_poll_set_consumer(self.client)
        self.queue = rd_kafka_queue_get_consumer(self.client)

    def __dealloc__(self):
        self._close(DESTROY_NO_CONSUMER_CLOSE)  # whoever collects it must not wait

    def close(self):
        """Lets go of everything. What is called later raises `RuntimeError`."""
        self._close(0)

    cdef _close(self, int flags):
        cdef rd_kafka_t *client = self.client
        cdef rd_kafka_queue_t *queue = self.queue
        self.client, self.queue = NULL, NULL
        if self.process_id != getpid():
            return  # what librdkafka keeps stays in this child's memory
        if client != NULL:
            with nogil:
                rd_kafka_queue_destroy(queue)
                if flags:
                    rd_kafka_destroy_flags(client, flags)
                else:
                    rd_kafka_consumer_close(client)
                    rd_kafka_destroy(client)
        free(self.notes)
        self.notes = NULL

    cdef rd_kafka_t *_open(self) except NULL:
        if self.client == NULL:
            raise RuntimeError("the consumer is closed: make another")
        return self.client

    # --- what is read ------------------------------------------------------------------------------------------------

    def assign(self, list places not None):
        """Reads these: topic, partition, offset. Raises `KafkaException`."""
        cdef rd_kafka_t *client = self._open()
        cdef rd_kafka_topic_partition_list_t *partitions = _listed(places)
        cdef int code
        with nogil:
            code = rd_kafka_assign(client, partitions)
            rd_kafka_topic_partition_list_destroy(partitions)
        _check(code, "assigning partitions")

    def incremental_assign(self, list places not None):
        """Reads these too: topic, partition, offset. Raises `KafkaException`."""
        cdef rd_kafka_t *client = self._open()
        cdef rd_kafka_topic_partition_list_t *partitions = _listed(places)
        cdef rd_kafka_error_t *error
        with nogil:
            error = rd_kafka_incremental_assign(client, partitions)
            rd_kafka_topic_partition_list_destroy(partitions)
        _check_error(error)

    def incremental_unassign(self, list places not None):
        """Reads these no more: topic, partition, any offset. Raises `KafkaException`."""
        cdef rd_kafka_t *client = self._open()
        cdef rd_kafka_topic_partition_list_t *partitions = _listed(places)
        cdef rd_kafka_error_t *error
        with nogil:
            error = rd_kafka_incremental_unassign(client, partitions)
            rd_kafka_topic_partition_list_destroy(partitions)
        _check_error(error)

    def position(self, str topic not None, int32_t partition):
        """The next offset to be read; negative before anything was. Raises `KafkaException`."""
        cdef rd_kafka_t *client = self._open()
        cdef rd_kafka_topic_partition_list_t *partitions = _listed([(topic, partition, -1001)])
        cdef int code
        cdef int64_t offset
        with nogil:
            code = rd_kafka_position(client, partitions)
            offset = partitions.elems[0].offset
            code = code or partitions.elems[0].err
            rd_kafka_topic_partition_list_destroy(partitions)
        _check(code, f"asking for the position in {topic}[{partition}]")
        return offset

    def look_up(self, str topic not None, double timeout_seconds):
        """Asks a broker about a topic. The `KafkaError` that it is answered with, or None."""
        cdef rd_kafka_t *client = self._open()
        cdef const rd_kafka_metadata_t *found = NULL
        cdef rd_kafka_topic_t *handle
        cdef int timeout_ms = <int>(timeout_seconds * 1_000)
        cdef int code
        name = topic.encode()
        cdef const char *name_at = name
        handle = rd_kafka_topic_new(client, name_at, NULL)
        if handle == NULL:
            return _error(rd_kafka_last_error(), f"topic {topic}")
        with nogil:
            code = rd_kafka_metadata(client, 0, handle, &found, timeout_ms)
            if code == 0:
                code = found.topics[0].err if found.topic_cnt else 0
                rd_kafka_metadata_destroy(found)
            rd_kafka_topic_destroy(handle)
        return None if code == 0 else _error(code, f"topic {topic}")

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, int max_records, double timeout_seconds):
        """What is there, at once; waits for the first of it up to the time-out. Records, and what could not be read instead.

        Raises `KafkaException` for a fatal error, and what a signal's handler raises.
        """
        self._open()
        if max_records < 1:
            raise ValueError(f"max_records={max_records}: read one at least")
        cdef rd_kafka_message_t **messages = <rd_kafka_message_t **>malloc(max_records * sizeof(void *) + 1)
        cdef Packed *packed = <Packed *>calloc(max_records + 1, sizeof(Packed))
        cdef rd_kafka_queue_t *queue = self.queue
        cdef int timeout_ms = <int>(timeout_seconds * 1_000)
        cdef Py_ssize_t count = 0, more, i
        cdef list records = [], errors = []
        if messages == NULL or packed == NULL:
            free(messages)
            free(packed)
            raise MemoryError
        with nogil:
            count = rd_kafka_consume_batch_queue(queue, timeout_ms, messages, 1)
            if count > 0 and max_records > 1:
                more = rd_kafka_consume_batch_queue(queue, 0, messages + 1, max_records - 1)
                count += more if more > 0 else 0
            for i in range(count):
                if messages[i].err == 0:
                    pack(messages[i], &packed[i])
        try:
            for i in range(count):
                if messages[i].err == 0:
                    records.append(self._record(messages[i], &packed[i]))
                else:
                    errors.append(self._fetch_error(messages[i]))
        finally:
            with nogil:
                for i in range(count):
                    free(packed[i].data)
                    rd_kafka_message_destroy(messages[i])
                free(packed)
                free(messages)
        if self.notes.count:
            self._tell()
        PyErr_CheckSignals()
        return records, errors

    cdef object _record(self, rd_kafka_message_t *message, Packed *packed):
        cdef int time_type = 0
        cdef object headers
        cdef RawHeaders raw
        if packed.count == 0:
            headers = ()
        else:
            if packed.data == NULL:
                raise MemoryError
            raw = RawHeaders.__new__(RawHeaders)
            raw.data, raw.count = packed.data, packed.count
            packed.data = NULL
            headers = raw
            if not packed.is_ascii:
                try:
                    raw.pairs()
                except UnicodeDecodeError:
                    headers = UNREADABLE_HEADERS
        record = new_tuple(Record, 7)
        put(record, 0, self._topic(message.rkt))
        put(record, 1, message.partition)
        put(record, 2, message.offset)
        put(record, 3, rd_kafka_message_timestamp(message, &time_type))
        put(record, 4, b"" if message.key == NULL else PyBytes_FromStringAndSize(<char *>message.key, message.key_len))
        # An empty value is one, and None is none.
        put(record, 5, None if message.payload == NULL else PyBytes_FromStringAndSize(<char *>message.payload, message.len))
        put(record, 6, headers)
        return record

    cdef object _topic(self, rd_kafka_topic_t *handle):
        cdef const char *name = rd_kafka_topic_name(handle)
        if strcmp(name, self.topic_name) != 0:
            self.topic_name = name
            self.topic = self.topic_name.decode()
        return self.topic

    cdef object _fetch_error(self, rd_kafka_message_t *message):
        topic = self._topic(message.rkt) if message.rkt != NULL else ""
        text = (<char *>message.payload)[: message.len].decode(errors="replace") if message.payload != NULL else None
        error = KafkaError(message.err, text) if text else _error(message.err, "")
        return FetchError(topic, message.partition, error)

    cdef _tell(self):
        cdef int count = self.notes.count, i, code
        cdef char text[TEXT_BYTES]
        self.notes.count = 0
        for i in range(count):
            code, reason = self.notes.notes[i].code, self.notes.notes[i].text.decode(errors="replace")
            if code == ERR_FATAL:
                code = rd_kafka_fatal_error(self.client, text, TEXT_BYTES)
                raise KafkaException(KafkaError(code, text.decode(errors="replace"), True))
            self.report(KafkaError(code, reason))


cdef void pack(const rd_kafka_message_t *message, Packed *packed) noexcept nogil:
    """Copies a message's headers into the form of `RawHeaders`."""
    cdef rd_kafka_headers_t *headers = NULL
    cdef const char *name
    cdef const void *value
    cdef size_t size, i, count, name_size, j
    cdef int32_t lengths[2]
    cdef char *at
    packed.is_ascii = True
    if rd_kafka_message_headers(message, &headers) != 0:
        return
    count = rd_kafka_header_cnt(headers)
    for i in range(count):
        rd_kafka_header_get_all(headers, i, &name, &value, &size)
        packed.size += 8 + strlen(name) + (size if value != NULL else 0)
    packed.count = <int>count
    at = packed.data = <char *>malloc(packed.size + 1)
    if at == NULL:
        return
    for i in range(count):
        rd_kafka_header_get_all(headers, i, &name, &value, &size)
        name_size = strlen(name)
        for j in range(name_size):
            if name[j] & 0x80:
                packed.is_ascii = False
        lengths[0], lengths[1] = <int32_t>name_size, <int32_t>size if value != NULL else -1
        memcpy(at, lengths, 8)
        memcpy(at + 8, name, name_size)
        at += 8 + name_size
        if value != NULL:
            memcpy(at, value, size)
            at += size


cdef rd_kafka_topic_partition_list_t *_listed(list places) except NULL:
    cdef rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(len(places))
    try:
        for topic, partition, offset in places:
            name = topic.encode()
            rd_kafka_topic_partition_list_add(partitions, name, partition).offset = offset
    except BaseException:
        rd_kafka_topic_partition_list_destroy(partitions)
        raise
    return partitions


def _error(int code, str doing):
    text = rd_kafka_err2str(code).decode()
    return KafkaError(code, f"{doing}: {text}" if doing else text)


cdef _check(int code, str doing):
    if code != 0:
        raise KafkaException(_error(code, doing))


cdef _check_error(rd_kafka_error_t *error):
    if error != NULL:
        code, text = rd_kafka_error_code(error), rd_kafka_error_string(error).decode(errors="replace")
        rd_kafka_error_destroy(error)
        raise KafkaException(KafkaError(code, text))
