-- The objects of a cluster that are not healthy, the worst first, as JSON: why it is Degraded or Progressing.
ALTER TABLE clusters ADD COLUMN ailing TEXT;
