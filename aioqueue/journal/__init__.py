"""The journal: the append-only list of batches of events that is the truth.

`base` is the seam and its promises, `batch` the bytes, `sqlite` the journal on disk, `memory` the one for tests and
for `memory:`. `wal` and `mark` are witnesses of the journal's end, `check` the verification of a file, `salvage` and
`fresh` what is left of a damaged one, and a new one made of that. `docs/reference/journal.md` says the bytes for other
languages.
"""
