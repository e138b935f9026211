-- What a crowd of other sessions does to the servers they share with the tests: settings that would show, statements, and moments of
-- use that move everybody about. No snapshot is held for long: VACUUM must find what it finds without a crowd.
SET datestyle TO 'German';
SET intervalstyle TO 'sql_standard';
SET extra_float_digits TO -3;
SET search_path TO nowhere, :client_id;
BEGIN;
SELECT 1;
\sleep 2 ms
COMMIT;
SET bytea_output TO 'escape';
SET timezone TO 'Asia/Tokyo';
SELECT 2;
\sleep 1 ms
RESET ALL;
SELECT 1;
\sleep 1 ms
