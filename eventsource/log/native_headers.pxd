cdef class RawHeaders:
    cdef char *data
    cdef int count
    cdef Py_ssize_t size
    cpdef list pairs(self)
