-- The roles of a Hubbub on PostgreSQL. Run it as a superuser in Hubbub's database, before the first `hubbub migrate` and once more after
-- it; running it again changes nothing.
--
--     psql "postgres://postgres@host/hubbub" -f config/postgres-roles.sql
--
-- Then give the two that log in their passwords (\password hubbub_server, \password hubbub_migrator), and let your applications in:
-- GRANT hubbub_publisher TO app.
--
--     hubbub_migrator   owns the tables and functions: `hubbub migrate` runs as this role, before each release that has migrations
--     hubbub_server     what `hubbub serve` connects as: reads and writes rows, changes no schema, owns nothing. Where a migration is
--                       missing, the server does not start as this role
--     hubbub_publisher  what an application needs to publish inside its own transactions: three functions, no table

DO $$
DECLARE
    wanted TEXT;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['hubbub_migrator LOGIN', 'hubbub_server LOGIN', 'hubbub_publisher NOLOGIN'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = split_part(wanted, ' ', 1)) THEN
            EXECUTE 'CREATE ROLE ' || wanted;
        END IF;
    END LOOP;
END
$$;

-- Nobody else makes anything in the schema that the functions trust.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO hubbub_migrator;
GRANT USAGE ON SCHEMA public TO hubbub_server, hubbub_publisher;

-- What hubbub_migrator makes from now on: rows for the server (no TRUNCATE, REFERENCES, TRIGGER), functions for nobody else.
ALTER DEFAULT PRIVILEGES FOR ROLE hubbub_migrator REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE hubbub_migrator IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO hubbub_server;
ALTER DEFAULT PRIVILEGES FOR ROLE hubbub_migrator IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO hubbub_server;

-- After the migrations: which of them ran is not the server's to write, and applications get their door. Its functions run with
-- hubbub_migrator's rights, so that the caller needs none on the tables.
DO $$
BEGIN
    IF to_regclass('public._sqlx_migrations') IS NULL THEN
        RAISE NOTICE 'run `hubbub migrate` as hubbub_migrator, then this file again';
    ELSE
        REVOKE INSERT, UPDATE, DELETE ON public._sqlx_migrations FROM hubbub_server;
        GRANT EXECUTE ON FUNCTION public.hubbub_publish, public.hubbub_publish_msgpack, public.hubbub_message_id TO hubbub_publisher;
    END IF;
END
$$;
