-- What a guard over latency said, one row a model, device and run of the guard; and which measurements it stands on.
CREATE TABLE comparison (
    id INTEGER PRIMARY KEY,
    taken_unix_ns INTEGER NOT NULL,
    label TEXT NOT NULL,
    model TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    baseline TEXT NOT NULL,
    reference BLOB NOT NULL,
    device TEXT NOT NULL,
    device_name TEXT NOT NULL,
    runtime TEXT NOT NULL,
    setup TEXT NOT NULL,
    median_ns REAL,
    median_low_ns REAL,
    median_high_ns REAL,
    change REAL,
    change_low REAL,
    change_high REAL,
    processes INTEGER NOT NULL,
    threshold REAL NOT NULL,
    verdict TEXT NOT NULL,
    notes TEXT NOT NULL
) STRICT;
CREATE INDEX comparison_series ON comparison (model, device, setup);
ALTER TABLE measurement ADD COLUMN comparison INTEGER REFERENCES comparison (id);
