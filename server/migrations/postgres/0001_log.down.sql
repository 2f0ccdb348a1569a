DROP TABLE events;
DROP TABLE publishes;
DROP TABLE entries;
DROP TABLE channels;
DROP TABLE leases;
DROP TABLE cluster;
