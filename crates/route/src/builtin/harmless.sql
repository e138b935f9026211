-- The names of built-in functions that are harmless wherever they run, on one major version. harmless.txt holds those that
-- are harmless, or unknown, in each of PostgreSQL 15, 16, 17 and 18, and known in one of them.
--
-- Harmless: not volatile, or volatile and listed; not callable with types only the server makes up; none of those that write,
-- lock, run text they are given, or answer for the node, its files, its statistics or its replication.
SELECT proname FROM pg_proc
WHERE oid < 16384 AND prokind <> 'p'
  AND NOT EXISTS (SELECT FROM unnest(proargtypes::oid[] || prorettype) AS a WHERE a IN ('internal'::regtype))
  AND prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
GROUP BY proname
HAVING bool_and(
    (provolatile <> 'v' OR proname IN ('array_sample', 'array_shuffle', 'clock_timestamp', 'current_query', 'gen_random_uuid',
        'lo_get', 'pg_database_size', 'pg_indexes_size', 'pg_partition_ancestors', 'pg_partition_tree', 'pg_relation_size',
        'pg_sleep', 'pg_sleep_for', 'pg_sleep_until', 'pg_table_size', 'pg_tablespace_size', 'pg_total_relation_size',
        'random', 'random_normal', 'timeofday', 'uuidv4', 'uuidv7'))
    AND 'cstring'::regtype <> ALL (proargtypes::oid[] || prorettype)
    AND proname !~ '^(query|cursor|table|schema|database)_to_xml'
    AND proname !~ '^(dblink|inet_(client|server)_|txid_(current|status)|currtid|.*_validator$)'
    AND proname !~ '^pg_(available_ext|backend_pid|conf|control_|current_|cursor|ddl_|event_|extension_|get_replication_slots)'
    AND proname !~ '^pg_(hba_|ident_|input_|is_in|is_wal|isolation|jit|last_|listening|lock_|log|ls_|numa)'
    AND proname !~ '^pg_(postmaster|prepared|promote|read|replication|safe_snapshot|show_all|stat_|tablespace_loc|wal_replay)'
    AND proname !~ '^pg_(walfile|stop_making|get_wal|get_aios|get_shmem|get_backend_mem|get_sequence_data|sequence_last)'
    AND proname NOT IN ('current_setting', 'set_config', 'setseed', 'satisfies_hash_partition', 'ts_rewrite', 'ts_stat', 'version'))
