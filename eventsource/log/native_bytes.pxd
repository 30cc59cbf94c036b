"""Numbers as bytes, the highest first. Each gives the place behind what it wrote."""

from libc.stdint cimport uint32_t, uint64_t


cdef inline char *write_uint64(char *at, uint64_t value) noexcept:
    cdef int i
    for i in range(8):
        at[i] = <char>(value >> (56 - 8 * i))
    return at + 8


cdef inline char *write_uint32(char *at, uint32_t value) noexcept:
    cdef int i
    for i in range(4):
        at[i] = <char>(value >> (24 - 8 * i))
    return at + 4
