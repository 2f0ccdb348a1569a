DROP TABLE tickets;
DROP TABLE secrets;
