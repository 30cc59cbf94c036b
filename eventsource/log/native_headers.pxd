cdef class RawHeaders:
    cdef char *data
    cdef int count
    cpdef list pairs(self)
