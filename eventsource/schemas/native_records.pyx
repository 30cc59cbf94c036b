# cython: language_level=3, boundscheck=False, wraparound=False
"""Flat records of Avro in machine code: what generated codecs do, for records whose fields are scalars, present or null.

As they do, these take what is plainly right, and give anything else to the reference codec: it gives the result or the error.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItemWithError, PyDict_SetItem
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

import struct

from pydantic import BaseModel


cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    void *PyUnicode_DATA(object text)
    long long PyLong_AsLongLongAndOverflow(object number, int *overflow) except? -1
    object PyObject_GenericGetDict(object instance, void *context)
    ctypedef int (*descrsetfunc)(object descriptor, object instance, object value) except -1
    ctypedef struct PyTypeObject:
        object (*tp_alloc)(PyTypeObject *cls, Py_ssize_t size)
        descrsetfunc tp_descr_set
    PyTypeObject *Py_TYPE(object value)
    object _PyDict_NewPresized(Py_ssize_t count)


cdef enum:
    NULL_KIND
    BOOLEAN
    LONG
    DOUBLE
    FLOAT
    STRING
    BYTES
    DECIMAL
    MOST_FIELDS = 64
    MOST_DIGITS = 18  # of a number that fits into 64 bits, whatever they are
    SMALL_BYTES = 1024

_KINDS = {
    "null": NULL_KIND,
    "boolean": BOOLEAN,
    "int": LONG,
    "long": LONG,
    "double": DOUBLE,
    "float": FLOAT,
    "string": STRING,
    "bytes": BYTES,
    "decimal": DECIMAL,
}
cdef bint _IS_LITTLE = struct.pack("=H", 1) == b"\1\0"

cdef object _set_dict = vars(BaseModel)["__dict__"]
cdef object _set_fields_set = vars(BaseModel)["__pydantic_fields_set__"]
cdef object _set_extra = vars(BaseModel)["__pydantic_extra__"]
cdef object _set_private = vars(BaseModel)["__pydantic_private__"]


class _Unfit(Exception):  # never leaves this module
    pass


cdef int check_model(object model) except -1:
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        raise TypeError("a pydantic model is wanted")
    return 0


cdef inline int set_slot(object descriptor, object instance, object value) except -1:
    return Py_TYPE(descriptor).tp_descr_set(descriptor, instance, value)


# --- writing -----------------------------------------------------------------------------------------------------


cdef struct Buffer:
    char *data
    Py_ssize_t size
    Py_ssize_t capacity
    bint is_own


cdef int reserve(Buffer *buffer, Py_ssize_t more) except -1:
    cdef char *grown
    cdef Py_ssize_t capacity
    if buffer.size + more <= buffer.capacity:
        return 0
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
    reserve(buffer, 10)
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
        if type(value) is not float or not _IS_LITTLE:
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
        check_model(model)
        self.model, self.prefix, self.max_bytes, self.reference = model, prefix, max_bytes, reference
        self.kept = list(fields)
        self.count = <int>len(fields)
        self.fields = <WrittenField *>calloc(self.count + 1, sizeof(WrittenField))
        if self.fields == NULL:
            raise MemoryError
        for i in range(self.count):
            field = <tuple>self.kept[i]
            name, written, exact, convert, null_branch, precision, scale = field
            self.fields[i].name = <PyObject *>field[0]
            self.fields[i].kind = _KINDS[written]
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


# --- reading -----------------------------------------------------------------------------------------------------


cdef struct ReadField:
    int kind
    PyObject *convert
    int null_branch
    int place  # among today's fields; -1: nobody wants it
    int longest  # a Decimal's bytes at most


cdef struct Place:
    const uint8_t *at
    const uint8_t *end


cdef inline int read_long(Place *place, int64_t *number) except -1:
    cdef uint64_t found = 0
    cdef int shift = 0
    cdef uint8_t byte
    while True:
        if place.at >= place.end:
            raise _Unfit
        byte = place.at[0]
        place.at += 1
        if shift == 63 and byte > 1:
            raise _Unfit
        found |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    if byte == 0 and shift:  # no writer gives a number so many bytes
        raise _Unfit
    number[0] = <int64_t>(found >> 1 ^ (0 - (found & 1)))
    return 0


cdef object read_unscaled(Place *place, int longest):
    """The integer of a Decimal: two's complement, the highest byte first, one at least."""
    cdef int64_t size, number
    cdef Py_ssize_t i
    read_long(place, &size)
    if size < 1 or size > longest or size > place.end - place.at:
        raise _Unfit
    place.at += size
    if size > 8:
        return int.from_bytes(PyBytes_FromStringAndSize(<const char *>place.at - size, size), "big", signed=True)
    number = -1 if (place.at - size)[0] > 127 else 0
    for i in range(size):
        number = <int64_t>(<uint64_t>number << 8 | (place.at - size)[i])
    return number


cdef object read_value(Place *place, int kind, int longest):
    cdef int64_t number
    cdef double real
    cdef float half
    cdef bint is_true
    cdef const char *start
    if kind == STRING or kind == BYTES:
        read_long(place, &number)
        if number < 0 or number > place.end - place.at:
            raise _Unfit
        start = <const char *>place.at
        place.at += number
        return PyUnicode_DecodeUTF8(start, number, NULL) if kind == STRING else PyBytes_FromStringAndSize(start, number)
    if kind == LONG:
        read_long(place, &number)
        return number
    if kind == DECIMAL:
        return read_unscaled(place, longest)
    if kind == BOOLEAN:
        if place.at >= place.end or place.at[0] > 1:
            raise _Unfit
        is_true = place.at[0] == 1
        place.at += 1
        return is_true
    if kind == DOUBLE:
        if place.end - place.at < 8 or not _IS_LITTLE:
            raise _Unfit
        memcpy(&real, place.at, 8)
        place.at += 8
        return real
    if kind == FLOAT:
        if place.end - place.at < 4 or not _IS_LITTLE:
            raise _Unfit
        memcpy(&half, place.at, 4)
        place.at += 4
        return <double>half
    return None


cdef class RecordReader:
    """Reads what was written with one schema into the instances of one pydantic model.

    `written`, in the writer's order: Avro type or "decimal", what converts a value or None, the place of null in a union with it or
    -1, how many bytes a Decimal has at most, and the place of the field among `names`, or -1 where nobody wants it any more. `defaults` are those of `names` that were not written.
    """

    cdef ReadField *fields
    cdef int count
    cdef object model, reference
    cdef Py_ssize_t skip, max_bytes
    cdef list kept
    cdef tuple names
    cdef dict defaults
    cdef set fields_set

    def __cinit__(
        self, model, list written not None, tuple names not None, dict defaults not None, Py_ssize_t skip,
        Py_ssize_t max_bytes, reference,
    ):
        cdef tuple field
        if len(written) > MOST_FIELDS or len(names) > MOST_FIELDS:
            raise ValueError("too many fields")
        check_model(model)
        self.model, self.names, self.defaults = model, names, defaults
        self.skip, self.max_bytes, self.reference = skip, max_bytes, reference
        self.fields_set = {name for name in names if name not in defaults}
        self.kept = list(written)
        self.count = <int>len(written)
        self.fields = <ReadField *>calloc(self.count + 1, sizeof(ReadField))
        if self.fields == NULL:
            raise MemoryError
        places = set(range(-1, len(names)))
        for i in range(self.count):
            field = <tuple>self.kept[i]
            type_, convert, null_branch, longest, place = field
            if place not in places:
                raise ValueError("a place twice, or none")
            self.fields[i].kind = _KINDS[type_]
            self.fields[i].convert = NULL if convert is None else <PyObject *>field[1]
            self.fields[i].null_branch = null_branch
            self.fields[i].longest = longest
            self.fields[i].place = place
            if place >= 0:
                places.remove(place)

    def __dealloc__(self):
        free(self.fields)

    @cython.binding(False)
    def read(self, value):
        """The instance."""
        cdef PyObject *values[MOST_FIELDS]
        cdef int i
        cdef int fields = <int>len(self.names)
        for i in range(fields):
            values[i] = NULL
        try:
            if type(value) is bytes and PyBytes_GET_SIZE(value) <= self.max_bytes:
                self.take(<bytes>value, values)
                return self.instance(values)
        except Exception:
            pass
        finally:
            for i in range(fields):
                Py_XDECREF(values[i])
        return self.reference(value)

    cdef int take(self, bytes data, PyObject **values) except -1:
        cdef Place place
        cdef ReadField *field
        cdef object value
        cdef int64_t branch
        place.at = <const uint8_t *>PyBytes_AS_STRING(data)
        place.end = place.at + PyBytes_GET_SIZE(data)
        if place.end - place.at < self.skip:
            raise _Unfit
        place.at += self.skip
        for i in range(self.count):
            field = &self.fields[i]
            if field.null_branch >= 0:
                read_long(&place, &branch)
                if branch != 0 and branch != 1:
                    raise _Unfit
                if branch == field.null_branch:
                    value = None
                else:
                    value = read_value(&place, field.kind, field.longest)
                    if field.convert != NULL:
                        value = (<object>field.convert)(value)
            else:
                value = read_value(&place, field.kind, field.longest)
                if field.convert != NULL:
                    value = (<object>field.convert)(value)
            if field.place >= 0:
                Py_INCREF(value)
                values[field.place] = <PyObject *>value
        if place.at != place.end:
            raise _Unfit
        return 0

    cdef object instance(self, PyObject **values):
        cdef PyTypeObject *cls = <PyTypeObject *>self.model
        cdef dict fields = _PyDict_NewPresized(len(self.names))
        cdef int i
        for i in range(<int>len(self.names)):
            name = self.names[i]
            if values[i] == NULL:
                PyDict_SetItem(fields, name, self.defaults[name])
            else:
                PyDict_SetItem(fields, name, <object>values[i])
        message = cls.tp_alloc(cls, 0)
        set_slot(_set_dict, message, fields)
        set_slot(_set_fields_set, message, self.fields_set.copy())
        set_slot(_set_extra, message, None)
        set_slot(_set_private, message, None)
        return message
