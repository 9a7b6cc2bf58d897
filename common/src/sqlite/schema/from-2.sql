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
INSERT INTO batches
SELECT batch, min(created), sum(state = 'blocked'), sum(state = 'scheduled'), sum(state = 'queued'),
    sum(state = 'running'), sum(state = 'retrying'), sum(state = 'succeeded'), sum(state = 'dead'),
    sum(state = 'cancelled')
FROM jobs WHERE batch IS NOT NULL GROUP BY batch;
