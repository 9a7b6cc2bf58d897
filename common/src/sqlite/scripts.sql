-- Added to the format without a new version: a file of an older Haul gets it when it is opened, and
-- an older Haul does not mind it. A name means the text that was added last: its largest seq.
CREATE TABLE IF NOT EXISTS scripts (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    name    TEXT NOT NULL,
    version TEXT NOT NULL,
    added   INTEGER NOT NULL,
    text    TEXT NOT NULL,
    UNIQUE (name, version)
);
