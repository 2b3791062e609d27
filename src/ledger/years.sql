-- What a commit did is asked by commit, over all clusters; without this it would be a look at every sync that ever was.
CREATE INDEX syncs_by_target ON syncs (target);
