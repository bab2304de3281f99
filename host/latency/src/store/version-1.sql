CREATE TABLE measurement (
    id INTEGER PRIMARY KEY,
    model BLOB NOT NULL,
    reference BLOB NOT NULL,
    device TEXT NOT NULL,
    runtime TEXT NOT NULL,
    setup TEXT NOT NULL,
    name TEXT NOT NULL,
    valid INTEGER NOT NULL,
    reason TEXT NOT NULL,
    median_ns REAL NOT NULL,
    ratio REAL,
    ratio_low REAL,
    ratio_high REAL,
    taken_unix_ns INTEGER NOT NULL,
    evidence BLOB NOT NULL
) STRICT;
CREATE INDEX measurement_key ON measurement (model, reference, device, runtime, setup, valid);
