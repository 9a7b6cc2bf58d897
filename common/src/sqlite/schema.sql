-- Times are milliseconds since the Unix epoch. A message is in exactly one of ready, later, held.

-- What a message says. Never updated: large bodies are written once.
CREATE TABLE messages (
    seq  INTEGER PRIMARY KEY,
    head TEXT NOT NULL,
    body BLOB NOT NULL
);
-- Waits for a consumer. Lanes 0 to 3; 4 is the dead letters.
CREATE TABLE ready (
    queue      TEXT NOT NULL,
    lane       INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    deliveries INTEGER NOT NULL,
    PRIMARY KEY (queue, lane, seq)
) WITHOUT ROWID;
-- Waits for its time, then moves to ready. So a clock that is set back stops no ready message.
CREATE TABLE later (
    due   INTEGER NOT NULL,
    seq   INTEGER NOT NULL,
    queue TEXT NOT NULL,
    lane  INTEGER NOT NULL,
    PRIMARY KEY (due, seq)
) WITHOUT ROWID;
-- A consumer has it.
CREATE TABLE held (
    seq        INTEGER PRIMARY KEY,
    consumer   INTEGER NOT NULL,
    queue      TEXT NOT NULL,
    lane       INTEGER NOT NULL,
    deliveries INTEGER NOT NULL
);
CREATE TABLE queues (name TEXT PRIMARY KEY) WITHOUT ROWID;
-- One open file of one process. AUTOINCREMENT: an id that was declared dead never comes again.
CREATE TABLE sessions (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    pid   INTEGER NOT NULL,
    birth INTEGER,
    place TEXT,
    seen  INTEGER NOT NULL
);
CREATE TABLE consumers (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL,
    queue   TEXT NOT NULL,
    lane    INTEGER NOT NULL
);

-- What is known of a job, but for what never changes: each transition writes this row anew.
CREATE TABLE jobs (
    seq      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    digest   BLOB NOT NULL,
    task     TEXT NOT NULL,
    queue    TEXT NOT NULL,
    lane     INTEGER NOT NULL,
    batch    TEXT,
    tags     TEXT,
    created  INTEGER NOT NULL,
    deadline INTEGER,
    state    TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    fence    INTEGER NOT NULL,
    starts   INTEGER NOT NULL,
    crashes  INTEGER NOT NULL,
    cancel   INTEGER NOT NULL,
    due      INTEGER,
    worker   TEXT,
    began    INTEGER,
    started  INTEGER,
    finished INTEGER,
    expires  INTEGER,
    reason   TEXT,
    error    TEXT,
    progress TEXT,
    log      TEXT NOT NULL,
    result   TEXT
);
CREATE INDEX jobs_created ON jobs (created);
CREATE INDEX jobs_batch   ON jobs (batch, created) WHERE batch IS NOT NULL;
CREATE INDEX jobs_expires ON jobs (expires) WHERE expires IS NOT NULL;
CREATE INDEX jobs_running ON jobs (worker) WHERE state = 'running';
CREATE INDEX jobs_cancels ON jobs (seq) WHERE cancel = 1 AND state = 'running';
-- States that are few, or none on the way of a job that goes well. Not an IN: for that, SQLite
-- makes a temporary table at every change of a job, which costs more than all the rest of it.
CREATE INDEX jobs_rare ON jobs (created)
    WHERE state <> 'queued' AND state <> 'running' AND state <> 'succeeded';

-- What only an edit changes: the spec; and the bytes where they could not be read.
CREATE TABLE specs (
    seq  INTEGER PRIMARY KEY,
    spec TEXT NOT NULL,
    raw  BLOB
);
-- The latest ended attempts: slot is the count of starts, modulo how many are kept.
CREATE TABLE attempts (
    seq     INTEGER NOT NULL,
    slot    INTEGER NOT NULL,
    attempt TEXT NOT NULL,
    PRIMARY KEY (seq, slot)
) WITHOUT ROWID;
-- Kind 0 is the checkpoint, 1 the result of a step.
CREATE TABLE saves (
    seq   INTEGER NOT NULL,
    kind  INTEGER NOT NULL,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (seq, kind, name)
) WITHOUT ROWID;
-- How many jobs a queue has in a state, kept in the transactions that change it: counting a
-- backlog of a million each time would cost more than working it off.
CREATE TABLE tallies (
    queue TEXT NOT NULL,
    state TEXT NOT NULL,
    jobs  INTEGER NOT NULL,
    PRIMARY KEY (queue, state)
) WITHOUT ROWID;
CREATE TABLE workers (
    id    TEXT PRIMARY KEY,
    info  TEXT NOT NULL,
    pid   INTEGER NOT NULL,
    birth INTEGER,
    place TEXT,
    seen  INTEGER NOT NULL
) WITHOUT ROWID;
