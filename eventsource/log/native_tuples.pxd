"""Named tuples made without the tuple of their arguments."""

from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM


cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        object (*tp_alloc)(PyTypeObject *, Py_ssize_t)


cdef inline object new_tuple(type cls, Py_ssize_t size):
    """An instance of a named tuple, whose items must be put at once."""
    return (<PyTypeObject *>cls).tp_alloc(<PyTypeObject *>cls, size)


cdef inline void put(object into, Py_ssize_t index, object item):
    Py_INCREF(item)
    PyTuple_SET_ITEM(into, index, item)
