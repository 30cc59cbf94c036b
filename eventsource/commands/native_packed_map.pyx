# cython: language_level=3, boundscheck=False, wraparound=False
"""`PackedMap` in machine code: two blocks of memory instead of three Python objects for each entry."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject_Hash
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef enum:
    FIRST_SLOTS = 64
    FIRST_BYTES = 4_096
    MOST_BYTES = 0x7FFFFFFF


cdef struct Slot:
    uint64_t digest
    uint64_t place  # of the entry, and one; 0: there is none


cdef struct Sizes:
    uint32_t key
    uint32_t value


cdef class PackedMap:
    """Values by key: an index by hash, open addressed, into entries in the order in which they came.

    An entry is the sizes of key and value, then both. Nothing is removed; what was replaced by a value of another size, or before
    the mark, stays where it is, unseen.
    """

    cdef Slot *slots
    cdef uint64_t slots_mask  # how many slots there are, less one
    cdef char *entries
    cdef uint64_t used_bytes
    cdef uint64_t room_bytes
    cdef uint64_t marked
    cdef Py_ssize_t count

    def __cinit__(self):
        self.slots = <Slot *>calloc(FIRST_SLOTS, sizeof(Slot))
        self.entries = <char *>realloc(NULL, FIRST_BYTES)
        if self.slots == NULL or self.entries == NULL:
            raise MemoryError
        self.slots_mask = FIRST_SLOTS - 1
        self.room_bytes = FIRST_BYTES

    def __dealloc__(self):
        free(self.slots)
        free(self.entries)

    def __reduce__(self):
        raise TypeError("a PackedMap cannot be copied")

    def __len__(self):
        return self.count

    @property
    def size_bytes(self):
        """What the entries and their index take in memory; 0 where there are none."""
        return self.used_bytes + (self.slots_mask + 1) * sizeof(Slot) if self.count else 0

    def get(self, str key not None):
        """The value, or None."""
        cdef Py_ssize_t size
        cdef const char *at = PyUnicode_AsUTF8AndSize(key, &size)
        cdef Slot *slot = self.slot_of(<uint64_t>PyObject_Hash(key), at, size)
        if slot.place == 0:
            return None
        return self.value_at(slot.place - 1)

    def put(self, str key not None, bytes value not None):
        """Keeps the value, instead of what was there."""
        cdef Py_ssize_t size
        cdef const char *at = PyUnicode_AsUTF8AndSize(key, &size)
        cdef uint64_t digest = <uint64_t>PyObject_Hash(key)
        cdef Py_ssize_t value_size = PyBytes_GET_SIZE(value)
        if size > MOST_BYTES or value_size > MOST_BYTES:
            raise OverflowError("a key or value of more than two gigabytes")
        cdef Slot *slot = self.slot_of(digest, at, size)
        cdef Sizes sizes
        cdef uint64_t place
        if slot.place != 0:
            place = slot.place - 1
            memcpy(&sizes, self.entries + place, sizeof(Sizes))
            if place >= self.marked and sizes.value == <uint32_t>value_size:
                memcpy(self.entries + place + sizeof(Sizes) + size, PyBytes_AS_STRING(value), value_size)
                return
            self.append(at, size, value)
            slot.place = place = self.used_bytes - (sizeof(Sizes) + size + value_size) + 1
            return
        place = self.used_bytes
        self.append(at, size, value)
        slot.digest, slot.place = digest, place + 1
        self.count += 1
        if <uint64_t>self.count * 3 > self.slots_mask * 2:
            self.add_slots()

    def mark(self):
        """Begins anew to collect what `since_mark` gives."""
        self.marked = self.used_bytes

    def since_mark(self):
        """Key, in UTF-8, and value of what was put since the mark, in order; the newest of one key comes last."""
        cdef list found = []
        cdef uint64_t place = self.marked
        cdef Sizes sizes
        while place < self.used_bytes:
            memcpy(&sizes, self.entries + place, sizeof(Sizes))
            key = PyBytes_FromStringAndSize(self.entries + place + sizeof(Sizes), sizes.key)
            found.append((key, self.value_at(place)))
            place += sizeof(Sizes) + sizes.key + sizes.value
        return found

    cdef bytes value_at(self, uint64_t place):
        cdef Sizes sizes
        memcpy(&sizes, self.entries + place, sizeof(Sizes))
        return PyBytes_FromStringAndSize(self.entries + place + sizeof(Sizes) + sizes.key, sizes.value)

    cdef Slot *slot_of(self, uint64_t digest, const char *key, Py_ssize_t size) noexcept:
        """The key's slot, or the one that is free for it."""
        cdef uint64_t index = digest & self.slots_mask
        cdef Slot *slot
        cdef Sizes sizes
        cdef const char *entry
        while True:
            slot = &self.slots[index]
            if slot.place == 0:
                return slot
            if slot.digest == digest:
                entry = self.entries + slot.place - 1
                memcpy(&sizes, entry, sizeof(Sizes))
                if sizes.key == <uint32_t>size and memcmp(entry + sizeof(Sizes), key, size) == 0:
                    return slot
            index = (index + 1) & self.slots_mask

    cdef int append(self, const char *key, Py_ssize_t key_size, bytes value) except -1:
        cdef Sizes sizes
        sizes.key, sizes.value = <uint32_t>key_size, <uint32_t>PyBytes_GET_SIZE(value)
        cdef uint64_t needed_bytes = self.used_bytes + sizeof(Sizes) + sizes.key + sizes.value
        cdef uint64_t room_bytes = self.room_bytes
        cdef char *entries
        if needed_bytes > room_bytes:
            while needed_bytes > room_bytes:
                room_bytes += room_bytes // 2
            entries = <char *>realloc(self.entries, room_bytes)
            if entries == NULL:
                raise MemoryError
            self.entries, self.room_bytes = entries, room_bytes
        cdef char *at = self.entries + self.used_bytes
        memcpy(at, &sizes, sizeof(Sizes))
        memcpy(at + sizeof(Sizes), key, key_size)
        memcpy(at + sizeof(Sizes) + key_size, PyBytes_AS_STRING(value), sizes.value)
        self.used_bytes = needed_bytes
        return 0

    cdef int add_slots(self) except -1:
        cdef uint64_t many = (self.slots_mask + 1) * 2
        cdef Slot *slots = <Slot *>calloc(many, sizeof(Slot))
        if slots == NULL:
            raise MemoryError
        cdef uint64_t old, index
        for old in range(self.slots_mask + 1):
            if self.slots[old].place != 0:
                index = self.slots[old].digest & (many - 1)
                while slots[index].place != 0:
                    index = (index + 1) & (many - 1)
                slots[index] = self.slots[old]
        free(self.slots)
        self.slots, self.slots_mask = slots, many - 1
        return 0
