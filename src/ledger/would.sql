-- What a sync would do to a cluster that is only observed, as JSON.
ALTER TABLE clusters ADD COLUMN would TEXT;
