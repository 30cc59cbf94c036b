"""The kinds of values that a flat record has, and how many fields."""

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


cdef inline int kind_of(str written) except -1:
    """Of an Avro type, or "decimal"."""
    names = ("null", "boolean", "long", "double", "float", "string", "bytes", "decimal")
    return names.index("long" if written == "int" else written)
