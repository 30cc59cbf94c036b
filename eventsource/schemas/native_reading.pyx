# cython: language_level=3, boundscheck=False, wraparound=False
"""From Avro's bytes to instances in machine code, for flat records: what `reading.py` generates for any.

It takes what is plainly right, and gives anything else to the reference codec: that gives the result or the error.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_SetItem
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from eventsource.schemas.native_kinds cimport BOOLEAN, BYTES, DECIMAL, DOUBLE, FLOAT, LONG, MOST_FIELDS, STRING, kind_of

from sys import byteorder

from pydantic import BaseModel


cdef extern from "Python.h":
    ctypedef int (*descrsetfunc)(object descriptor, object instance, object value) except -1
    ctypedef struct PyTypeObject:
        object (*tp_alloc)(PyTypeObject *cls, Py_ssize_t size)
        descrsetfunc tp_descr_set
    PyTypeObject *Py_TYPE(object value)


if byteorder != "little":  # a double is copied as it is
    raise ImportError("machine code for records was written for little-endian machines")

# Slot setters: an instance is built without its class's __init__, validators or frozen check.
cdef object _set_dict = vars(BaseModel)["__dict__"]
cdef object _set_fields_set = vars(BaseModel)["__pydantic_fields_set__"]
cdef object _set_extra = vars(BaseModel)["__pydantic_extra__"]
cdef object _set_private = vars(BaseModel)["__pydantic_private__"]


class _Unfit(Exception):  # never leaves this module
    pass


cdef inline int set_slot(object descriptor, object instance, object value) except -1:
    return Py_TYPE(descriptor).tp_descr_set(descriptor, instance, value)


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
        if place.end - place.at < 8:
            raise _Unfit
        memcpy(&real, place.at, 8)
        place.at += 8
        return real
    if kind == FLOAT:
        if place.end - place.at < 4:
            raise _Unfit
        memcpy(&half, place.at, 4)
        place.at += 4
        return <double>half
    return None


cdef class RecordReader:
    """Reads what was written with one schema into the instances of one pydantic model.

    `written`, in the writer's order: Avro type or "decimal", what converts a value or None, the place of null in a union with it or
    -1, how many bytes a Decimal has at most, and the place of the field among `names`, or -1 where nobody wants it any more.
    `defaults` are those of `names` that were not written.
    """

    cdef ReadField *fields
    cdef int count
    cdef object model, reference
    cdef Py_ssize_t skip, max_bytes
    cdef list kept
    cdef tuple names
    cdef dict template  # copied for each instance: so the keys are put and hashed once, and take as little memory as a literal's
    cdef set fields_set

    def __cinit__(
        self, model, list written not None, tuple names not None, dict defaults not None, Py_ssize_t skip,
        Py_ssize_t max_bytes, reference,
    ):
        cdef tuple field
        if len(written) > MOST_FIELDS or len(names) > MOST_FIELDS:
            raise ValueError("too many fields")
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            raise TypeError("a pydantic model is wanted")
        if skip < 0:
            raise ValueError("no bytes can be skipped before the first")
        self.model, self.names = model, names
        self.template = {name: defaults.get(name) for name in names}
        self.skip, self.max_bytes, self.reference = skip, max_bytes, reference
        self.fields_set = {name for name in names if name not in defaults}
        self.kept = list(written)
        self.count = <int>len(written)
        self.fields = <ReadField *>calloc(self.count + 1, sizeof(ReadField))
        if self.fields == NULL:
            raise MemoryError
        places = set(range(-1, len(names)))
        for i in range(self.count):
            field = self.kept[i]
            type_, convert, null_branch, longest, place = field
            if place not in places:
                raise ValueError("a place twice, or none")
            self.fields[i].kind = kind_of(type_)
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
        cdef int64_t branch = 0
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
            if field.null_branch >= 0 and branch == field.null_branch:
                value = None
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
        cdef dict fields = self.template.copy()
        cdef int i
        for i in range(<int>len(self.names)):
            if values[i] != NULL:
                PyDict_SetItem(fields, self.names[i], <object>values[i])
        message = cls.tp_alloc(cls, 0)
        set_slot(_set_dict, message, fields)
        set_slot(_set_fields_set, message, self.fields_set.copy())
        set_slot(_set_extra, message, None)
        set_slot(_set_private, message, None)
        return message
