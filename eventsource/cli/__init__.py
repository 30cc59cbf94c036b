"""The command `eventsource`. It alone configures logging; the library never does."""
