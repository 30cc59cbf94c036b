# cython: language_level=3, boundscheck=False, wraparound=False
"""Answers and replies as bytes, in machine code: what `Answer.pack` and `encode_reply` make where there are no texts to add."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from eventsource.log.native_bytes cimport write_uint32, write_uint64


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef enum:
    HASH_BYTES = 8
    ANSWER_BYTES = 27
    REPLY_BYTES = 46
    REPLY_VERSION = 1
    MOST_ID_BYTES = 0xFFFF


cdef inline int check_hash(bytes digest) except -1:
    if PyBytes_GET_SIZE(digest) != HASH_BYTES:
        raise ValueError("a body hash has 8 bytes")
    return 0


def pack_answer(bytes body_hash not None, unsigned char status, int64_t version, int64_t offset):
    """The answer as memory and state store keep it, without code and details."""
    cdef char data[ANSWER_BYTES]
    check_hash(body_hash)
    memcpy(data, PyBytes_AS_STRING(body_hash), HASH_BYTES)
    data[HASH_BYTES] = <char>status
    write_uint64(write_uint64(data + HASH_BYTES + 1, <uint64_t>version), <uint64_t>offset)
    data[ANSWER_BYTES - 2] = data[ANSWER_BYTES - 1] = 0
    return PyBytes_FromStringAndSize(data, ANSWER_BYTES)


def encode_reply(
    str command_id not None, unsigned char status, int32_t partition, int64_t offset, int64_t version, uint32_t topic_crc,
    bytes body_hash not None,
):
    """The bytes of a reply without code, details and state."""
    cdef Py_ssize_t id_bytes
    cdef const char *id_at = PyUnicode_AsUTF8AndSize(command_id, &id_bytes)
    check_hash(body_hash)
    if id_bytes > MOST_ID_BYTES:
        raise OverflowError("a command id of more than 65,535 bytes")
    cdef bytes data = PyBytes_FromStringAndSize(NULL, REPLY_BYTES + id_bytes)
    cdef char *at = PyBytes_AS_STRING(data)
    at[0], at[1] = REPLY_VERSION, <char>status
    at = write_uint32(at + 2, <uint32_t>partition)
    at = write_uint64(write_uint64(at, <uint64_t>offset), <uint64_t>version)
    at = write_uint32(at, topic_crc)
    memcpy(at, PyBytes_AS_STRING(body_hash), HASH_BYTES)
    at += HASH_BYTES
    at[0], at[1] = <char>(id_bytes >> 8), <char>id_bytes
    memset(at + 2, 0, 10)  # the lengths of code, details and state
    memcpy(at + 12, id_at, id_bytes)
    return data
