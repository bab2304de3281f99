-- The time of the least disturbed runs. Older entries have none: their figures over processes have other keys.
ALTER TABLE measurement ADD COLUMN p5_ns REAL;
