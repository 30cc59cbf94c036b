"""Named tuples made without the tuple of their arguments."""

from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_SET_ITEM


cdef extern from *:
    """
    /* From CPython 3.14 on a tuple keeps its hash, and -1 says that it has none yet; `tp_alloc` leaves 0. */
    static inline PyObject *eventsource_new_tuple(PyTypeObject *type, Py_ssize_t size) {
        PyObject *made = type->tp_alloc(type, size);
    #if PY_VERSION_HEX >= 0x030E0000
        if (made != NULL) ((PyTupleObject *)made)->ob_hash = -1;
    #endif
        return made;
    }
    """
    ctypedef struct PyTypeObject:
        pass
    object eventsource_new_tuple(PyTypeObject *type, Py_ssize_t size)


cdef inline object new_tuple(type cls, Py_ssize_t size):
    """An instance of a named tuple, whose items must be put at once."""
    return eventsource_new_tuple(<PyTypeObject *>cls, size)


cdef inline void put(object into, Py_ssize_t index, object item):
    Py_INCREF(item)
    PyTuple_SET_ITEM(into, index, item)
