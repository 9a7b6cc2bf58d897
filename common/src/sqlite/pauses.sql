-- Queues of which nothing new is started. Added to the format without a new version, as scripts: an
-- older Haul does not mind it, and does not pause either.
CREATE TABLE IF NOT EXISTS pauses (
    queue  TEXT PRIMARY KEY,
    since  INTEGER NOT NULL,
    by     TEXT NOT NULL,
    reason TEXT
) WITHOUT ROWID;
