"""The process that owns the journal and decides everything: core inside, sockets and files outside."""
