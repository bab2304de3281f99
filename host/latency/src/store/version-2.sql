ALTER TABLE measurement ADD COLUMN profile TEXT NOT NULL DEFAULT '';
ALTER TABLE measurement ADD COLUMN device_name TEXT NOT NULL DEFAULT '';
ALTER TABLE measurement ADD COLUMN hostname TEXT NOT NULL DEFAULT '';
ALTER TABLE measurement ADD COLUMN agent_version TEXT NOT NULL DEFAULT '';
ALTER TABLE measurement ADD COLUMN protocol INTEGER;
ALTER TABLE measurement ADD COLUMN providers TEXT NOT NULL DEFAULT '';
ALTER TABLE measurement ADD COLUMN peak_memory_bytes INTEGER;
ALTER TABLE measurement ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE measurement ADD COLUMN graphprune_version TEXT NOT NULL DEFAULT '';
CREATE INDEX measurement_time ON measurement (taken_unix_ns);
-- Who is measuring what at the moment. A holder that has died leaves a claim that beats no more.
CREATE TABLE claim (
    model BLOB NOT NULL,
    reference BLOB NOT NULL,
    device TEXT NOT NULL,
    runtime TEXT NOT NULL,
    setup TEXT NOT NULL,
    holder TEXT NOT NULL,
    beat INTEGER NOT NULL,
    beat_unix_ns INTEGER NOT NULL,
    PRIMARY KEY (model, reference, device, runtime, setup)
) STRICT, WITHOUT ROWID;
