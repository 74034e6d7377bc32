"""The journal: the append-only list of batches of events that is the truth.

`base` is the seam and its promises, `batch` the bytes, `sqlite` the journal on disk, `memory` the one for tests and
for `memory:`, `check` the verification of a file. `docs/reference/journal.md` says the bytes for other languages.
"""
