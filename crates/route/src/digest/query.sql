WITH RECURSIVE
-- Built-in functions nobody vouched for ($1 holds the names that are harmless).
denied AS (
    SELECT p.oid, lower(p.proname) AS word
    FROM pg_catalog.pg_proc AS p
    WHERE p.oid < 16384 AND p.proname <> ALL ($1::text[])
        AND p.prorettype NOT IN ('pg_catalog.trigger'::regtype, 'pg_catalog.event_trigger'::regtype)
        -- Input and output of types and the like, which stand behind every cast.
        AND NOT EXISTS (
            SELECT FROM unnest(p.proargtypes::oid[] || p.prorettype) AS a(t)
            WHERE a.t IN ('pg_catalog.internal'::regtype, 'pg_catalog.cstring'::regtype)
        )
),
-- Schemas of temporary objects belong to one session each.
lasting AS (
    SELECT oid FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
),
functions AS (
    SELECT p.*, l.lanname
    FROM pg_catalog.pg_proc AS p
    JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
    JOIN lasting AS n ON n.oid = p.pronamespace
    WHERE p.oid >= 16384
),
relations AS (
    SELECT c.* FROM pg_catalog.pg_class AS c JOIN lasting AS n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
),
-- Expressions kept as trees. Built-in functions in them leave no trace in pg_depend.
trees AS (
    SELECT 'pg_catalog.pg_class'::regclass AS class, r.ev_class AS oid, r.ev_action::text AS tree
    FROM pg_catalog.pg_rewrite AS r JOIN relations AS c ON c.oid = r.ev_class
    WHERE r.ev_type = '1' AND c.relkind = 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, p.polrelid, p.polqual::text
    FROM pg_catalog.pg_policy AS p JOIN relations AS c ON c.oid = p.polrelid
    WHERE p.polcmd IN ('r', '*') AND c.relrowsecurity
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, d.adrelid, d.adbin::text
    FROM pg_catalog.pg_attrdef AS d
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated = 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, k.contypid, k.conbin::text
    FROM pg_catalog.pg_constraint AS k WHERE k.contypid <> 0
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, f.oid, coalesce(f.proargdefaults::text, '') || coalesce(to_jsonb(f) ->> 'prosqlbody', '')
    FROM functions AS f WHERE f.proargdefaults IS NOT NULL OR f.prosrc = ''
),
-- What functions speak of. A body that is text is searched for names.
words AS (
    SELECT DISTINCT f.oid, w.word
    FROM functions AS f,
        regexp_split_to_table(lower(f.prosrc), '[^[:alnum:]_$]+') AS w(word)
    WHERE f.lanname NOT IN ('c', 'internal') AND w.word <> ''
),
objects AS (
    SELECT 'pg_catalog.pg_proc'::regclass AS class, oid, lower(proname) AS word FROM functions
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, oid, lower(relname) FROM relations
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, t.oid, lower(t.typname)
    FROM pg_catalog.pg_type AS t JOIN lasting AS n ON n.oid = t.typnamespace WHERE t.oid >= 16384
),
-- Who reaches whom.
edges AS (
    SELECT d.classid AS class, d.objid AS oid, d.refclassid AS to_class, d.refobjid AS to_oid
    FROM pg_catalog.pg_depend AS d
    WHERE d.deptype IN ('n', 'a', 'i')
        AND d.classid IN (
            'pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_class'::regclass, 'pg_catalog.pg_type'::regclass,
            'pg_catalog.pg_operator'::regclass, 'pg_catalog.pg_cast'::regclass, 'pg_catalog.pg_rewrite'::regclass,
            'pg_catalog.pg_policy'::regclass, 'pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_attrdef'::regclass,
            'pg_catalog.pg_opclass'::regclass, 'pg_catalog.pg_opfamily'::regclass
        )
        AND d.refclassid IN (
            'pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_class'::regclass, 'pg_catalog.pg_type'::regclass,
            'pg_catalog.pg_operator'::regclass
        )
        -- A sequence depends on the column it feeds, and a rule on its table, but neither taints by that.
        AND NOT (d.classid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid <> 0 AND d.deptype <> 'n')
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, r.ev_class, 'pg_catalog.pg_rewrite'::regclass, r.oid
    FROM pg_catalog.pg_rewrite AS r JOIN relations AS c ON c.oid = r.ev_class
    WHERE r.ev_type = '1' AND c.relkind = 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, p.polrelid, 'pg_catalog.pg_policy'::regclass, p.oid
    FROM pg_catalog.pg_policy AS p JOIN relations AS c ON c.oid = p.polrelid
    WHERE p.polcmd IN ('r', '*') AND c.relrowsecurity
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, d.adrelid, 'pg_catalog.pg_attrdef'::regclass, d.oid
    FROM pg_catalog.pg_attrdef AS d
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated = 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, i.inhparent, 'pg_catalog.pg_class'::regclass, i.inhrelid
    FROM pg_catalog.pg_inherits AS i
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, t.oid, 'pg_catalog.pg_class'::regclass, t.typrelid
    FROM pg_catalog.pg_type AS t WHERE t.typrelid >= 16384
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, k.contypid, 'pg_catalog.pg_constraint'::regclass, k.oid
    FROM pg_catalog.pg_constraint AS k WHERE k.contypid <> 0
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, t.oid, 'pg_catalog.pg_cast'::regclass, k.oid
    FROM pg_catalog.pg_cast AS k, LATERAL (VALUES (k.castsource), (k.casttarget)) AS t(oid)
    WHERE k.oid >= 16384 AND t.oid >= 16384
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, o.opcintype, 'pg_catalog.pg_opclass'::regclass, o.oid
    FROM pg_catalog.pg_opclass AS o WHERE o.oid >= 16384 AND o.opcintype >= 16384
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, o.opcintype, 'pg_catalog.pg_opfamily'::regclass, o.opcfamily
    FROM pg_catalog.pg_opclass AS o WHERE o.oid >= 16384 AND o.opcintype >= 16384
    UNION ALL
    -- Sorting and grouping call what stands behind the operator class.
    SELECT 'pg_catalog.pg_opfamily'::regclass, a.amprocfamily, 'pg_catalog.pg_proc'::regclass, a.amproc::oid
    FROM pg_catalog.pg_amproc AS a WHERE a.amproc::oid >= 16384
    UNION ALL
    SELECT 'pg_catalog.pg_opfamily'::regclass, a.amopfamily, 'pg_catalog.pg_operator'::regclass, a.amopopr
    FROM pg_catalog.pg_amop AS a WHERE a.amopopr >= 16384
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, w.oid, o.class, o.oid
    FROM words AS w JOIN objects AS o USING (word) WHERE NOT (o.class = 'pg_catalog.pg_proc'::regclass AND o.oid = w.oid)
),
roots AS (
    SELECT 'pg_catalog.pg_proc'::regclass AS class, f.oid, 'volatile' AS reason FROM functions AS f WHERE f.provolatile = 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, f.oid, 'setting'
    FROM functions AS f, unnest(f.proconfig) AS s(setting) WHERE s.setting ~* '^(synchronous_commit|search_path)='
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, w.oid, 'dynamic' FROM words AS w WHERE w.word = 'execute'
    UNION ALL
    -- Declared STABLE, and they run a text they are given (tablefunc, xml2).
    SELECT 'pg_catalog.pg_proc'::regclass, f.oid, 'dynamic'
    FROM functions AS f WHERE f.lanname = 'c' AND f.proname ~ '^(crosstab[0-9]*|connectby|xpath_table)$'
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, w.oid, 'denied'
    FROM words AS w
    WHERE w.word IN (SELECT word FROM denied) OR w.word ~ '^(dblink|pg_stat_|pg_statio_|pg_temp|synchronous_commit$)'
        OR w.word IN (
            'pg_locks', 'pg_settings', 'pg_sequences', 'pg_cursors', 'pg_prepared_xacts', 'pg_prepared_statements',
            'pg_replication_slots', 'pg_replication_origin_status', 'pg_file_settings', 'pg_hba_file_rules', 'pg_aios',
            'pg_ident_file_mappings', 'pg_backend_memory_contexts', 'pg_shmem_allocations', 'pg_available_extensions',
            'pg_available_extension_versions', 'pg_config'
        )
    UNION ALL
    SELECT t.class, t.oid, 'denied'
    FROM trees AS t, regexp_matches(t.tree, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS m(found)
    WHERE m.found[1]::oid IN (SELECT oid FROM denied)
    UNION ALL
    SELECT t.class, t.oid, 'denied'
    FROM trees AS t, regexp_matches(t.tree, ':relid ([0-9]+)', 'g') AS m(found)
    JOIN pg_catalog.pg_class AS c ON c.oid = m.found[1]::oid
    WHERE c.oid < 16384 AND c.relkind = 'v' AND c.relname ~
        '^(pg_(stat_|statio_|locks|settings|sequences|cursors|prepared_|replication_|file_|hba_|ident_|backend_|shmem_|available_|config|aios))'
    UNION ALL
    SELECT t.class, t.oid, 'locks' FROM trees AS t WHERE t.tree LIKE '%:hasForUpdate true%'
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, c.oid,
        CASE WHEN c.relkind = 'S' THEN 'sequence' WHEN c.relkind = 'f' THEN 'foreign' ELSE 'unlogged' END
    FROM relations AS c WHERE c.relkind IN ('S', 'f') OR c.relpersistence = 'u'
),
tainted AS (
    SELECT r.class::oid AS class, r.oid FROM roots AS r
    UNION
    SELECT e.class::oid, e.oid FROM tainted AS t JOIN edges AS e ON e.to_class = t.class AND e.to_oid = t.oid
),
reasons AS (
    SELECT t.class, t.oid, coalesce(r.reason, 'reaches') AS reason
    FROM tainted AS t
    LEFT JOIN roots AS r ON r.class::oid = t.class AND r.oid = t.oid
    UNION ALL
    -- A volatile function that also reaches something has more against it than its declaration.
    SELECT e.class::oid, e.oid, 'reaches'
    FROM edges AS e JOIN tainted AS t ON t.class = e.to_class AND t.oid = e.to_oid
    WHERE e.class = 'pg_catalog.pg_proc'::regclass
),
found AS (
    SELECT f.proname::text AS name, 'function' AS kind, coalesce(r.reason, 'harmless') AS reason
    FROM functions AS f LEFT JOIN reasons AS r ON r.class = 'pg_catalog.pg_proc'::regclass AND r.oid = f.oid
    WHERE f.prorettype NOT IN ('pg_catalog.trigger'::regtype, 'pg_catalog.event_trigger'::regtype)
    UNION ALL
    SELECT c.relname::text, 'relation', r.reason
    FROM relations AS c JOIN reasons AS r ON r.class = 'pg_catalog.pg_class'::regclass AND r.oid = c.oid
    UNION ALL
    SELECT t.typname::text, 'type', r.reason
    FROM pg_catalog.pg_type AS t
    JOIN reasons AS r ON r.class = 'pg_catalog.pg_type'::regclass AND r.oid = t.oid
    -- Row types and arrays have their relation's or element's name, which is tainted itself.
    WHERE t.typtype <> 'c' AND t.typcategory <> 'A'
    UNION ALL
    SELECT t.typname::text, 'type', r.reason
    FROM pg_catalog.pg_type AS t
    JOIN reasons AS r ON r.class = 'pg_catalog.pg_type'::regclass AND r.oid = t.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = t.typrelid AND c.relkind = 'c'
    UNION ALL
    SELECT o.oprname::text, 'operator', r.reason
    FROM pg_catalog.pg_operator AS o JOIN reasons AS r ON r.class = 'pg_catalog.pg_operator'::regclass AND r.oid = o.oid
    UNION ALL
    SELECT 'cast from ' || format_type(k.castsource, NULL) || ' to ' || format_type(k.casttarget, NULL), 'database', r.reason
    FROM pg_catalog.pg_cast AS k JOIN reasons AS r ON r.class = 'pg_catalog.pg_cast'::regclass AND r.oid = k.oid
    WHERE k.castcontext IN ('i', 'a') OR (k.castsource < 16384 AND k.casttarget < 16384)
    UNION ALL
    SELECT 'type ' || format_type(t.oid, NULL), 'database', r.reason
    FROM pg_catalog.pg_type AS t
    JOIN reasons AS r ON r.class = 'pg_catalog.pg_proc'::regclass AND r.oid IN (t.typinput, t.typoutput)
    WHERE t.oid >= 16384 AND t.typtype = 'b' AND t.typcategory <> 'A'
)
SELECT DISTINCT name, kind, reason FROM found ORDER BY kind, name, reason
