-- The time of the least disturbed runs; unknown of older entries, whose keys no request has any more.
ALTER TABLE measurement ADD COLUMN p5_ns REAL;
