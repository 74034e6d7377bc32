"""Every limit: its name, the reason for its value, and nothing else.

Units are the last word of a name. A limit is checked where the thing it bounds comes in, before anything is allocated
for it.
"""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024
GIB: Final = 1024 * 1024 * 1024

# --- names and ids ------------------------------------------------------------------------------------------------

# Namespaces, queues and tasks appear in every log line and key; 128 holds any dotted path a person writes.
NAME_CHARACTERS_MAX: Final = 128
JOB_ID_BYTES: Final = 16
# A caller's own id is hashed; it is kept for display only.
OWN_ID_CHARACTERS_MAX: Final = 256
# What a person says of an act, such as the reason of a cancel: a page of text.
TEXT_CHARACTERS_MAX: Final = 4_096

# --- the wire -----------------------------------------------------------------------------------------------------

# SQLite holds no larger number.
NUMBER_MAX: Final = 2**63 - 1
# One frame is held whole in memory on both sides.
FRAME_BYTES_MAX: Final = 4 * MIB
# Before HELLO a peer is a stranger, and a stranger gets little memory.
STRANGER_FRAME_BYTES_MAX: Final = 4 * KIB
# What a process says of itself in HELLO: with all its other fields at their limits that still fits a stranger's frame.
ABOUT_BYTES_MAX: Final = 1 * KIB
# Chance enough that no two of a million processes share an identity; it is no secret.
PROCESS_ID_BYTES: Final = 8
# Arguments and result. Larger data belongs into a store made for it.
BODY_BYTES_MAX: Final = 1 * MIB
HEADERS_BYTES_MAX: Final = 16 * KIB
SPEC_BYTES_MAX: Final = 1 * KIB
ERROR_BYTES_MAX: Final = 64 * KIB
# What an exception says of itself, within that; the rest is left to its traceback.
FAILURE_TEXT_BYTES_MAX: Final = 8 * KIB
# An atomic submit is one batch of the journal, which is bounded by BATCH_BYTES_MAX.
ATOMIC_BYTES_MAX: Final = 3 * MIB
ATOMIC_JOBS_MAX: Final = 10_000
# A larger bulk is staged in parts, each a batch of the journal, and committed at the end.
BULK_PART_JOBS_MAX: Final = 1_000
BULK_ID_BYTES: Final = 16
# Each holds its jobs back; nobody stages so many at once by intent.
BULKS_MAX: Final = 100
# A client repeats what was not answered for an hour; a bulk of which nothing is heard for twice that has no client.
BULK_OPEN_MS: Final = 2 * 3_600_000
# Jobs of a bulk that become ready in one step: as many as of those that are due, for the same reason.
BULK_FREED_MAX: Final = 333
# Elements of one frame's list: each becomes an object of some 200 bytes.
ITEMS_A_FRAME_MAX: Final = 10_000
# A sender closes a frame when it has grown to this, so that one frame never delays the others much.
FRAME_BYTES_TARGET: Final = 256 * KIB
# One read from a socket.
READ_BYTES: Final = 256 * KIB
# What may wait to be written to one connection before its owner is treated as a slow reader.
OUTBOX_BYTES_MAX: Final = 32 * MIB
# What one connection may have said that is not decided yet; then it is not read. As much as a client has in flight, and
# one frame.
UNDECIDED_BYTES_MAX: Final = 4 * MIB
# All such input of all clients together, half a frame included, and of all workers: then nobody of them is read.
INTAKE_BYTES_MAX: Final = 128 * MIB
# What waits to be written to all connections together: then the ones for which most waits are cut off.
OUTBOXES_BYTES_MAX: Final = 256 * MIB
# So much waiting for one connection is not counted there. Ten thousand of them are a sixth of that limit; and a small
# message that leaves at once, as nearly all do, costs no count.
OUTBOX_UNTOLD_BYTES_MAX: Final = 4 * KIB
# An answer that nobody waits for (of a settle, of a submit whose end will be told) may wait so long for company. A
# write of its own would cost more than a job does under load, and wake another process.
ANSWER_DELAY_SECONDS: Final = 0.005
# A peer that takes nothing of what waits for it for so long is cut off: its process was stopped, or reads no more.
STALLED_SECONDS: Final = 30.0
# From this part of the backlog's limits on, clients that submit are read more and more slowly, down to one read (at
# most 256 KiB) in so long. It is far less than a heartbeat, and enough to let workers gain on a crowd of clients.
SLOW_FROM: Final = 0.8
SLOW_SECONDS_MAX: Final = 0.2
# Answers of one connection that the archive is being asked for; more wait in their order.
LOOKUPS_A_CONNECTION_MAX: Final = 16
# A connection that has not said HELLO by then is closed.
HANDSHAKE_MS: Final = 10_000
CONNECT_SECONDS: Final = 5.0
# A Unix socket's name with its NUL fits 104 bytes on macOS and 108 on Linux.
UNIX_PATH_BYTES_MAX: Final = 103
# How long a process waits for the owner of its journal to answer, or to be gone: a start that recovers much included.
OWNER_SECONDS: Final = 10.0
QUEUES_A_WORKER_MAX: Final = 1_000
# Tasks that one program declares. With names of the longest they fit into one frame.
TASKS_A_WORKER_MAX: Final = 10_000
# What a worker has, or a job needs of it: few words, looked at for each pair of them.
LABELS_MAX: Final = 16
# The description of a task by its hash: enough that two never meet.
TASK_DIGEST_BYTES: Final = 16
# The description itself: options, parameters and a line of text.
TASK_BODY_BYTES_MAX: Final = 8 * KIB
# The registry of tasks, a namespace: a page that lists them all is still one that a person reads.
TASKS_MAX: Final = 10_000
# And of all namespaces: what is kept in memory of names that somebody may invent. Beside its description, a task takes
# about so much.
TASKS_BYTES_MAX: Final = 64 * MIB
TASK_OVERHEAD_BYTES: Final = 512
# What a client was told of a task is taken for true so long, and then asked again: those who submit must hear of a
# deploy.
REGISTRY_FRESH_MS: Final = 15_000
# Descriptions that a client remembers; the oldest are asked for again.
TASKS_REMEMBERED_MAX: Final = 1_000
# A page of them: so many names, or so many bytes of descriptions.
CONTROL_NAMES_MAX: Final = 1_000
CONTROL_BYTES_MAX: Final = MIB
# A task that no worker declares any more: a month, for some workers are started for the end of one.
TASK_UNUSED_MS: Final = 30 * 24 * 3_600_000
# After a start nothing lapses for so long, for those who use it come back first.
LAPSE_GRACE_MS: Final = 3_600_000
# Of items that lapse in one batch: their names take a quarter of what a batch should have at most.
LAPSED_MAX: Final = 250
# The names of queues and tasks that workers declare, each list once for all that declare the same: some 50,000 queues,
# or 400,000 tasks. All sessions with lists of their own at their longest would take a hundred times the memory.
NAMES_BYTES_MAX: Final = 128 * MIB
# Queues without a job and without a worker whose totals are still kept, for `top`; older ones are forgotten.
QUEUES_IDLE_MAX: Final = 1_000
# What is told to those who watch: a monitor shows no more, and it is sent every second to each.
STATISTICS_BYTES_MAX: Final = 1 * MIB
SLOTS_MAX: Final = 100_000
SESSIONS_MAX: Final = 20_000
# A worker has two connections, and those that have not said HELLO yet are nobody's. Each takes some 16 KB.
CONNECTIONS_MAX: Final = 45_000
# Connections that have not said HELLO. Honest ones say it at once, so for one more the oldest of these is closed: to
# refuse the newest would lock out everybody else.
STRANGERS_MAX: Final = 1_000
# File descriptors that connections leave to the journal, the archive and all else.
FILES_KEPT: Final = 64

# --- the client ---------------------------------------------------------------------------------------------------

# Waits between attempts to connect: chance times the base, doubled by each failure, up to the cap. A thousand clients
# of a restarted broker then come back spread over the cap, and one alone comes back at once.
RECONNECT_BASE_SECONDS: Final = 0.05
RECONNECT_CAP_SECONDS: Final = 2.0
# How long a call waits for a broker where nobody says otherwise: longer than a restart takes, and as long as those who
# call a web app wait at most.
CALL_SECONDS: Final = 30.0
# Submits that were sent and not yet answered; more wait here, or a slow broker would be taken for one that never reads.
IN_FLIGHT_BYTES_MAX: Final = 4 * MIB
# What a frame spends on one item beside its body, spec and headers, rounded up.
ITEM_OVERHEAD_BYTES: Final = 64
# The ends of jobs that ran are worth waiting for a broker that is being restarted just now.
LAST_ENDS_SECONDS: Final = 5.0
# A goodbye is a courtesy; a broker that does not read does not hold up the end of a program.
GOODBYE_SECONDS: Final = 1.0

# Jobs that the worker of an embedded broker runs at once, where nobody says otherwise.
EMBEDDED_SLOTS: Final = 100

# --- sessions -----------------------------------------------------------------------------------------------------

# A session must outlast two missed heartbeats, or one pause would look like a dead worker.
HEARTBEATS_A_TTL: Final = 3
SESSION_TTL_MS: Final = 10_000
SESSION_TTL_MS_MIN: Final = 300
# An event loop that stands still for this long delays every job of its worker by as much; less is the rule in programs
# that compute a little between two awaits.
LOOP_BLOCKED_MS: Final = 1_000
# How often the watchdog looks in that time. Four looks a second cost an idle worker 0.1 % of a core.
LOOP_LOOKS_A_BLOCK: Final = 4
# No worker is connected and idle beside work that it may have for longer than this; it is watched for, at both ends.
IDLE_MS: Final = 1_000
# Runs that heed no cancellation are counted, and so many of them named; a worker with more has one defect, not many.
DEAF_NAMED_MAX: Final = 100
# Two lines of code by file, number and function; longer paths are cut.
PLACE_CHARACTERS_MAX: Final = 512

# --- jobs ---------------------------------------------------------------------------------------------------------

PRIORITY_MAX: Final = 9
PRIORITY_DEFAULT: Final = 5
# A hundred years: what is later than that is a mistake in the caller's units.
DURATION_MS_MAX: Final = 100 * 365 * 86_400_000
# The last millisecond of the year 9999, where calendars of Python end.
INSTANT_MS_MAX: Final = 253_402_300_799_999
ATTEMPTS_MAX: Final = 1_000
# A job whose process died this often under it is dead, or it would take its neighbours with it for ever.
CRASHES_MAX: Final = 3
# From so many crashes on a job runs alone: one more makes it dead.
CRASHES_ALONE: Final = CRASHES_MAX - 1
# Jobs that live, in all queues. Each takes some 400 bytes of memory: these are 0.8 GB, and are read in 20 s at a start.
BACKLOG_JOBS_MAX: Final = 2_000_000
# The arguments and headers of those. They stand in the journal, which a start reads as a whole.
BACKLOG_BYTES_MAX: Final = 2 * GIB
# A limit below this would refuse one atomic submit of full size for ever.
BACKLOG_BYTES_MAX_MIN: Final = 4 * MIB
# How long after it was first sent a submit is said again; beyond that a broker need not remember what became of it.
RESEND_SECONDS: Final = 3_600.0

# --- arguments in memory ------------------------------------------------------------------------------------------

# What a broker holds of the arguments of jobs that wait or run; a million of 200 bytes fit into it.
BODY_CACHE_BYTES: Final = 256 * MIB
# A quarter is for what is read ahead, and the largest body must fit into that.
BODY_CACHE_BYTES_MIN: Final = 4 * MIB
# What holding one costs beside its own bytes: a dict's entry and an object's head.
BODY_OVERHEAD_BYTES: Final = 140
# A tenth of a second's worth of jobs at 20,000 a second are read ahead of their leases; to look through more of the
# lines would hold the engine up.
AHEAD_JOBS: Final = 2_048
AHEAD_BYTES_MAX: Final = 16 * MIB
# The arguments of the jobs that one batch leases; and what may wait to be sent to a worker before it is given nothing
# more, until most of it has left. Together well below OUTBOX_BYTES_MAX, or one with many slots would be cut off.
LEASED_BYTES_TARGET: Final = 4 * MIB
DELIVERIES_BYTES_MAX: Final = 8 * MIB
# The same for the results that a client waits for.
ENDS_BYTES_MAX: Final = 8 * MIB
# One go at the journal, which an append may have to wait for.
GET_BYTES_MAX: Final = 1 * MIB
GET_EXTENTS_MAX: Final = 64
# Two bodies of a batch this near to each other are read together with what lies between them.
GET_GAP_BYTES: Final = 4 * KIB

# What jobs bring along (arguments, results, errors) is for the user who runs the broker, and for nobody else.
FILE_MODE: Final = 0o600

# --- the journal --------------------------------------------------------------------------------------------------

# With less than this free on the broker's disk no new jobs come in: more than a second of the fastest submits, for that
# is how often it is looked at. An app that owns its journal itself is smaller, and so may its disk be.
DISK_RESERVE_BYTES: Final = 256 * MIB
EMBEDDED_DISK_RESERVE_BYTES: Final = 64 * MIB
DISK_LOOK_SECONDS: Final = 1.0
# Larger batches brought 12-19 ms tails.
BATCH_BYTES_TARGET: Final = 256 * KIB
BATCH_EVENTS_TARGET: Final = 1_000
# One batch holds an atomic submit with its bodies and records.
BATCH_BYTES_MAX: Final = 8 * MIB
# With the last batch this large, waiting a little lets more commands share the next fsync.
BUSY_COMMANDS: Final = 32
BUSY_GAP_MS: Final = 1.0
# The journal's write-ahead log is folded into the file when it has about this many pages: 4 MB.
CHECKPOINT_PAGES: Final = 1_000
JOURNAL_PAGE_BYTES: Final = 4 * KIB
# Recovery holds this much of the journal at once, or one batch if that is larger.
READ_RANGE_BYTES: Final = 4 * MIB
READ_RANGE_BATCHES: Final = 4_096
# Appends go between the steps of a trim, so a step is what one of them may have to wait for. Where they bring more than
# that between two steps, a step is twice as much as they did, up to this, or the file would grow for ever.
TRIM_STEP_BYTES: Final = 1 * MIB
TRIM_STEP_BYTES_MAX: Final = 4 * MIB
VACUUM_STEP_PAGES: Final = 500
# Free pages that a trim leaves in the file, for the appends that follow.
VACUUM_KEPT_PAGES: Final = 1_000
# And as such a part of a large one: a log that moves on fills them again, and each page given back is one copied.
VACUUM_KEPT_PART: Final = 8
# From the base on the journal may grow to this, or to twice what lives in it: then its oldest part is carried.
JOURNAL_BOUND_BYTES: Final = 256 * MIB
# A smaller log would be carried all the time, for a recovery that takes a fraction of a second anyway.
JOURNAL_BOUND_BYTES_MIN: Final = 1 * MIB
# Batches below the base stay for people and for salvage until the file has this much more than the log.
JOURNAL_HISTORY_BYTES: Final = 1024 * MIB
# The base moves by such a part of the log's bound, and by whole parts of the journal in which homes are counted.
SEGMENTS_A_BOUND: Final = 16
# Homes are counted by so many positions: less than 10 bytes a job even where each job has a batch of its own.
HOME_POSITIONS: Final = 16
# What the record of an item takes beside its spec, headers and body, rounded up; and what a spec mostly takes.
ITEM_BYTES: Final = 112
SPEC_BYTES_USUAL: Final = 80
# What one batch carries: so little that nobody waits for it, and more than one fsync is worth.
CARRY_BYTES_TARGET: Final = 64 * KIB
CARRY_ITEMS_MAX: Final = 200
# What was asked to be carried and is not answered: a batch takes that much along beside what others may have of it, for
# some 4 ms. With 200 items at a time a log of payloads of 5 kB grew by twenty bytes for each that was carried.
CARRY_AHEAD_BYTES: Final = 512 * KIB
CARRY_AHEAD_ITEMS: Final = 1_500
# A file that was overwritten has a problem in every batch; after so many there is nothing new to learn.
CHECK_PROBLEMS_MAX: Final = 100

# --- the archive --------------------------------------------------------------------------------------------------

KEEP_SUCCEEDED_MS: Final = 86_400_000
KEEP_DEAD_MS: Final = 30 * 86_400_000
# A bulk that was dropped may have a million jobs, and nobody was promised one of them; for whoever looks into it.
KEEP_DROPPED_MS: Final = 3_600_000
# What all jobs and their runs may have of the disk.
ARCHIVE_BYTES_MAX: Final = 10 * 1024 * MIB
# Less than one bulk would be forgotten as fast as it is written.
ARCHIVE_BYTES_MAX_MIN: Final = 64 * MIB
# Who did what is asked about after months; a million acts take some 256 MiB.
KEEP_ACTS_MS: Final = 365 * 86_400_000
ACTS_MAX: Final = 1_000_000
# After its retention a job's id is still known as "expired" for this long.
TOMBSTONE_MS: Final = 86_400_000
# When a job was forgotten so long ago, the caller's own id that it had may be used again. A submit is repeated for
# RESEND_SECONDS, and began before its job was forgotten: nobody repeats it any more.
OWN_ID_FREED_MS: Final = 3_600_000
# Finished jobs that wait for the archive's commit; a fuller overlay slows the engine instead of growing.
OVERLAY_JOBS_MAX: Final = 100_000
# The same in bytes of results, arguments and errors: it is also the largest bulk that is committed at once.
OVERLAY_BYTES_MAX: Final = 64 * MIB

# Entries of an index that one look at a list passes over, some 5 ms; whoever lists goes on from there.
LOOK_ENTRIES_MAX: Final = 20_000
# The same where each entry's row has to be read, as for a text in its error.
LOOK_ROWS_MAX: Final = 2_000

# What one look for a copy reads, and one part of a backup holds: much larger would delay what is said beside it.
COPY_BYTES: Final = 256 * KIB

# Each holds some MiB, and the journal's old batches.
BACKUPS_MAX: Final = 2
# One of which no part was asked for in so long is given up, or the journal would never be cut again. The slowest disk
# takes a part of COPY_BYTES in far less.
BACKUP_IDLE_SECONDS: Final = 600.0

# --- views --------------------------------------------------------------------------------------------------------

PAGE_JOBS_MAX: Final = 1_000
# The same where each comes with its runs and headers.
PAGE_RUNS_JOBS_MAX: Final = 100
# Of the arguments of each job in a list: a screen has room for less, and a page of a hundred stays small.
ARGS_LISTED_BYTES_MAX: Final = 4 * KIB
# The same of one job that is asked for; a program that wants more says so.
ARGS_SHOWN_BYTES_MAX: Final = 64 * KIB
# Living jobs that a page looks at, some 1 ms: the engine does nothing else meanwhile.
PAGE_LIVING_LOOKED_MAX: Final = 5_000
# Text that is looked for in errors; longer than a line that anybody reads.
ERROR_CHARACTERS_MAX: Final = 256
STATISTICS_MS: Final = 1_000
