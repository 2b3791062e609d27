-- When a cluster that is out of reach, refused or failed is tried next, and how many tries failed in a row.
ALTER TABLE clusters ADD COLUMN retry_at INTEGER;
ALTER TABLE clusters ADD COLUMN failures INTEGER;
