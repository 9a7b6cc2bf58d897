-- How many jobs of a batch are in each state, kept as `tallies` are. There may be as many batches as
-- jobs: one row each, gone with its last job.
CREATE TABLE batches (
    batch     TEXT PRIMARY KEY,
    created   INTEGER NOT NULL,
    blocked   INTEGER NOT NULL,
    scheduled INTEGER NOT NULL,
    queued    INTEGER NOT NULL,
    running   INTEGER NOT NULL,
    retrying  INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    cancelled INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX batches_created ON batches (created);
