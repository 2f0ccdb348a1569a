DROP FUNCTION hubbub_amend;
DROP INDEX entries_amendments;
ALTER TABLE entries DROP COLUMN ref;
