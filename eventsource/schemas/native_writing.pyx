# cython: language_level=3, boundscheck=False, wraparound=False
"""From instances to Avro's bytes in machine code, for flat records: what `writing.py` generates for any.

It takes what is plainly right, and gives anything else to the reference codec: that gives the result or the error.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from eventsource.schemas.native_kinds cimport BOOLEAN, BYTES, DECIMAL, DOUBLE, LONG, MOST_FIELDS, STRING, kind_of

from sys import byteorder


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    void *PyUnicode_DATA(object text)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    object PyObject_GenericGetDict(object instance, void *context)


cdef enum:
    MOST_DIGITS = 18  # of a number that fits into 64 bits, whatever they are
    SMALL_BYTES = 1024
    LONGEST_NUMBER_BYTES = 10

if byteorder != "little":  # a double is copied as it is
    raise ImportError("machine code for records was written for little-endian machines")


class _Unfit(Exception):  # never leaves this module
    pass


cdef struct Buffer:
    char *data
    Py_ssize_t size
    Py_ssize_t capacity
    Py_ssize_t max_bytes
    bint is_own


cdef int reserve(Buffer *buffer, Py_ssize_t more) except -1:
    cdef char *grown
    cdef Py_ssize_t capacity
    if buffer.size + more <= buffer.capacity:
        return 0
    if buffer.size + more > buffer.max_bytes + LONGEST_NUMBER_BYTES:  # some is reserved for a number that may be shorter
        raise _Unfit
    capacity = 2 * (buffer.size + more)
    if buffer.is_own:
        grown = <char *>realloc(buffer.data, capacity)
    else:
        grown = <char *>malloc(capacity)
        if grown != NULL:
            memcpy(grown, buffer.data, buffer.size)
    if grown == NULL:
        raise MemoryError
    buffer.data, buffer.capacity, buffer.is_own = grown, capacity, True
    return 0


cdef inline int add(Buffer *buffer, const char *data, Py_ssize_t size) except -1:
    reserve(buffer, size)
    memcpy(buffer.data + buffer.size, data, size)
    buffer.size += size
    return 0


cdef inline int add_long(Buffer *buffer, int64_t number) except -1:
    cdef uint64_t rest = <uint64_t>number << 1 ^ <uint64_t>(number >> 63)
    reserve(buffer, LONGEST_NUMBER_BYTES)
    while rest > 0x7F:
        buffer.data[buffer.size] = <char>(rest & 0x7F | 0x80)
        buffer.size += 1
        rest >>= 7
    buffer.data[buffer.size] = <char>rest
    buffer.size += 1
    return 0


cdef inline int add_sized(Buffer *buffer, const char *data, Py_ssize_t size) except -1:
    add_long(buffer, size)
    add(buffer, data, size)
    return 0


cdef int add_text(Buffer *buffer, object text) except -1:
    cdef bytes encoded
    if type(text) is not str:
        raise _Unfit
    if PyUnicode_IS_ASCII(text):
        add_sized(buffer, <const char *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text))
    else:  # not by way of the UTF-8 that a str keeps: it would keep it as long as it lives
        encoded = (<str>text).encode()
        add_sized(buffer, PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))
    return 0


cdef int add_decimal(Buffer *buffer, object text, int precision, int scale) except -1:
    """Adds a Decimal by its text, which is half the time of scaling it; returns 0 where that is not the plain form."""
    cdef const char *at
    cdef Py_ssize_t size, i = 0, digits = 0, point = -1
    cdef int64_t unscaled = 0, bound = 1
    cdef uint64_t rest
    cdef char data[8]
    cdef int count = 1, j
    cdef bint is_negative
    if not PyUnicode_IS_ASCII(text):
        return 0
    at, size = <const char *>PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text)
    is_negative = size > 0 and at[0] == c"-"
    for i in range(1 if is_negative else 0, size):
        if c"0" <= at[i] <= c"9" and digits < MOST_DIGITS:
            unscaled = 10 * unscaled + (at[i] - c"0")
            digits += 1
        elif at[i] == c"." and point < 0:
            point = i
        else:
            return 0
    if digits == 0 or (size - 1 - point if point >= 0 else 0) != scale:
        return 0
    for _ in range(precision if precision < MOST_DIGITS else MOST_DIGITS):
        bound *= 10
    if unscaled >= bound:
        return 0
    if is_negative:
        unscaled = -unscaled
    rest = <uint64_t>(unscaled if unscaled >= 0 else ~unscaled)
    while rest >> (8 * count - 1):
        count += 1
    for j in range(count):
        data[j] = <char>(unscaled >> 8 * (count - 1 - j))
    add_sized(buffer, data, count)
    return 1


cdef int add_value(Buffer *buffer, int kind, object value) except -1:
    cdef int overflow = 0
    cdef int64_t number
    cdef double real
    if kind == STRING:
        add_text(buffer, value)
    elif kind == LONG:
        if type(value) is not int:
            raise _Unfit
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            raise _Unfit
        add_long(buffer, number)
    elif kind == BYTES:
        if type(value) is not bytes:
            raise _Unfit
        add_sized(buffer, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    elif kind == BOOLEAN:
        if value is not True and value is not False:
            raise _Unfit
        add(buffer, b"\1" if value is True else b"\0", 1)
    elif kind == DOUBLE:
        if type(value) is not float:
            raise _Unfit
        real = PyFloat_AS_DOUBLE(value)
        add(buffer, <const char *>&real, 8)
    elif value is not None:
        raise _Unfit
    return 0


cdef struct WrittenField:
    PyObject *name
    int kind
    PyObject *exact  # the class that a value must be of, or NULL
    PyObject *convert  # what makes of the value what is written, or NULL
    int null_branch  # of a union with null, the place of null, 0 or 1; else -1
    int precision  # of a Decimal
    int scale


cdef class RecordWriter:
    """Writes the instances of one pydantic model.

    `fields`, in their order: name, Avro type or "decimal", the exact class of what is converted or None, what converts it or None,
    the place of null in a union with it, else -1, and a Decimal's precision and scale.
    """

    cdef WrittenField *fields
    cdef int count
    cdef object model, reference
    cdef bytes prefix
    cdef Py_ssize_t max_bytes
    cdef list kept

    def __cinit__(self, model, list fields not None, bytes prefix not None, Py_ssize_t max_bytes, reference):
        cdef tuple field
        if len(fields) > MOST_FIELDS:
            raise ValueError("too many fields")
        self.model, self.prefix, self.max_bytes, self.reference = model, prefix, max_bytes, reference
        self.kept = list(fields)
        self.count = <int>len(fields)
        self.fields = <WrittenField *>calloc(self.count + 1, sizeof(WrittenField))
        if self.fields == NULL:
            raise MemoryError
        for i in range(self.count):
            field = self.kept[i]
            name, written, exact, convert, null_branch, precision, scale = field
            self.fields[i].name = <PyObject *>field[0]
            self.fields[i].kind = kind_of(written)
            self.fields[i].exact = NULL if exact is None else <PyObject *>field[2]
            self.fields[i].convert = NULL if convert is None else <PyObject *>field[3]
            self.fields[i].null_branch = null_branch
            self.fields[i].precision, self.fields[i].scale = precision, scale

    def __dealloc__(self):
        free(self.fields)

    @cython.binding(False)
    def write(self, message):
        """The prefix and the body."""
        cdef char small[SMALL_BYTES]
        cdef Buffer buffer
        buffer.data, buffer.size, buffer.capacity, buffer.is_own = small, 0, SMALL_BYTES, False
        buffer.max_bytes = self.max_bytes
        try:
            self.fill(&buffer, message)
            if buffer.size <= self.max_bytes:
                return PyBytes_FromStringAndSize(buffer.data, buffer.size)
        except Exception:
            pass
        finally:
            if buffer.is_own:
                free(buffer.data)
        return self.reference(message)

    cdef int fill(self, Buffer *buffer, object message) except -1:
        cdef PyObject *found
        cdef object values, value
        cdef WrittenField *field
        if type(message) is not self.model:
            raise _Unfit
        values = PyObject_GenericGetDict(message, NULL)
        add(buffer, PyBytes_AS_STRING(self.prefix), PyBytes_GET_SIZE(self.prefix))
        for i in range(self.count):
            field = &self.fields[i]
            found = PyDict_GetItemWithError(values, <object>field.name)
            if found == NULL:
                raise _Unfit
            value = <object>found
            if field.null_branch >= 0:
                if value is None:
                    add_long(buffer, field.null_branch)
                    continue
                add_long(buffer, 1 - field.null_branch)
            if field.exact != NULL and type(value) is not <object>field.exact:
                raise _Unfit
            if field.kind == DECIMAL:
                if not add_decimal(buffer, str(value), field.precision, field.scale):
                    add_value(buffer, BYTES, (<object>field.convert)(value))
                continue
            if field.convert != NULL:
                value = (<object>field.convert)(value)
            add_value(buffer, field.kind, value)
        return 0
