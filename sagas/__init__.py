"""Process managers that issue commands and compensate. Reserved: sagas come with a later version."""
