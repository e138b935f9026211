package matrix;

import static matrix.Transcript.*;

import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PGobject;
import org.postgresql.util.ServerErrorMessage;

/** Features that are about a session and what it has. */
final class Sessions {
    static void listen(Connection c) throws Exception {
        try (Connection other = connect()) {
            ask(other, "LISTEN matrix_news");
            c.setAutoCommit(false);
            for (String payload : List.of("first", "first", "second")) {
                ask(c, "SELECT pg_notify('matrix_news', ?)", payload);
            }
            ask(c, "NOTIFY matrix_silence, 'to nobody'");
            c.commit();
            c.setAutoCommit(true);
            say("listen", heard(other, 2, 20_000));
            ask(other, "NOTIFY matrix_news, 'its own'");
            say("listen", heard(other, 1, 20_000), ask(other, "SELECT pg_listening_channels()"));
            ask(other, "UNLISTEN matrix_news");
            ask(c, "NOTIFY matrix_news, 'to nobody'");
            say("listen", heard(other, 1, 300));
        }
    }

    static void cancelAndTimeout(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    s.cancel();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            });
            canceller.start();
            attempt("cancel", () -> s.execute("SELECT pg_sleep(60)"));
            canceller.join();
            s.cancel();
            say("cancel", one(c, "SELECT 'a cancel of nothing hurts nobody'"));
            s.setQueryTimeout(1);
            attempt("timeout", () -> s.execute("SELECT pg_sleep(60)"));
            say("timeout", all(s.executeQuery("SELECT 'in time'")));
        }
        ask(c, "SET statement_timeout = 200");
        attempt("timeout", () -> ask(c, "SELECT pg_sleep(60)"));
        attempt("timeout", () -> ask(c, "SELECT pg_sleep(?)", 60));
        c.setAutoCommit(false);
        ask(c, "SET LOCAL statement_timeout = 0");
        say("timeout", one(c, "SELECT 1 FROM pg_sleep(0.4)"));
        c.commit();
        c.setAutoCommit(true);
        attempt("timeout", () -> ask(c, "SELECT pg_sleep(60)"));
        ask(c, "RESET statement_timeout");
        say("timeout", one(c, "SHOW statement_timeout"), c.isValid(5));
    }

    static void recovery(Connection c) throws Exception {
        for (String text : List.of("SELECT 1/0", "SELEC 1", "SELECT nothing", "TABLE nowhere", "INSERT INTO matrix.item VALUES (1, 'twice')",
                "INSERT INTO matrix.kinds (id) VALUES (2)", "SELECT (-1)::matrix.positive")) {
            attempt("recovery", () -> ask(c, text));
        }
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        c.setReadOnly(true);
        c.setAutoCommit(false);
        say("recovery", one(c, "SHOW transaction_isolation"), one(c, "SHOW transaction_read_only"));
        attempt("recovery", () -> ask(c, "DELETE FROM matrix.item WHERE id = ?", 1));
        attempt("recovery", () -> one(c, "SELECT 1"));
        // The driver tells who commits what has failed that it was rolled back.
        attempt("recovery", () -> {
            c.commit();
            return "";
        });
        c.setAutoCommit(true);
        c.setReadOnly(false);
        c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        say("recovery", one(c, "SHOW transaction_isolation"), one(c, "SHOW default_transaction_read_only"), ask(c, ""));
    }

    static void types(Connection c) throws Exception {
        DatabaseMetaData m = c.getMetaData();
        say("types", m.getDatabaseMajorVersion(), m.supportsBatchUpdates(), m.getUserName(), m.getDefaultTransactionIsolation());
        say("types", all(m.getTables(null, "matrix", "%", new String[] {"TABLE"})));
        say("types", all(m.getColumns(null, "matrix", "kinds", "%")).stream().map(row -> row.subList(2, 8)).toList());
        say("types", all(m.getPrimaryKeys(null, "matrix", "item")), all(m.getTypeInfo()).size() > 100);
        // A threshold below nothing has the server answer in binary from the first time on; types are looked up by name.
        for (String threshold : List.of("5", "-1")) {
            try (Connection other = connect("prepareThreshold", threshold); Statement s = other.createStatement()) {
                ResultSet r = s.executeQuery("SELECT * FROM matrix.kinds");
                List<String> names = new ArrayList<>();
                for (int n = 1; n <= r.getMetaData().getColumnCount(); n++) {
                    names.add(r.getMetaData().getColumnTypeName(n) + ":" + r.getMetaData().getPrecision(n) + ":" + r.getMetaData().getTableName(n));
                }
                say("types", threshold, names, all(r));
                Array moods = other.createArrayOf("matrix.mood", new Object[] {"sad", null});
                PGobject document = new PGobject();
                document.setType("jsonb");
                document.setValue("{\"a\": [1]}");
                say("types", ask(other, "SELECT ?, ?, ?::matrix.mood, ?::date, ?::bytea, ?::uuid, ?::int8", moods, document, "sad", LocalDate.of(2024, 2, 29),
                        "\0".getBytes(), UUID.fromString("00000000-0000-0000-0000-000000000001"), 9007199254740993L).toString().replaceAll("B@[0-9a-f]+", "B"));
            }
        }
    }

    static void settings(Connection c) throws Exception {
        String[] names = {"application_name", "search_path", "work_mem", "matrix.tag", "TimeZone"};
        try (Connection other = connect("ApplicationName", "named", "currentSchema", "client_3", "options", "-c work_mem=5MB -c matrix.tag=startup")) {
            Action shown = () -> {
                List<Object> values = new ArrayList<>();
                for (String name : names) {
                    values.add(one(other, "SHOW " + name));
                }
                return values;
            };
            say("settings", shown.run(), other.getSchema(), one(other, "SELECT tag FROM who"), one(c, "SHOW search_path"));
            say("settings", new TreeMap<>(other.unwrap(PGConnection.class).getParameterStatuses()));
            other.setSchema("client_4");
            other.setClientInfo("ApplicationName", "told later");
            several(other, "SET TIME ZONE 'Asia/Tokyo'; SET IntervalStyle = 'iso_8601'");
            say("settings", one(other, "SELECT tag FROM who"), one(other, "SELECT '2024-02-29 12:00+00'::timestamptz::text"), shown.run(),
                    other.unwrap(PGConnection.class).getParameterStatus("TimeZone"));
            other.setAutoCommit(false);
            other.setSchema("client_5");
            ask(other, "SET LOCAL work_mem = '7MB'");
            say("settings", one(other, "SELECT tag FROM who"), one(other, "SHOW work_mem"));
            other.rollback();
            say("settings", one(other, "SELECT tag FROM who"), shown.run());
            ask(other, "SELECT set_config('matrix.tag', ?, false)", "configured");
            other.commit();
            other.setAutoCommit(true);
            say("settings", one(other, "SHOW matrix.tag"), ask(other, "RESET ALL"), shown.run());
            attempt("settings", () -> ask(other, "SET work_mem = 'nonsense'"));
            attempt("settings", () -> ask(other, "SET no_such_setting = 1"));
            // The driver closes the connection when it sees what it cannot live with.
            attempt("settings", () -> ask(other, "SET client_encoding = 'LATIN1'"));
            say("settings", other.isClosed());
        }
    }

    static void sessionState(Connection c) throws Exception {
        try (Connection other = connect()) {
            ask(c, "CREATE TEMP TABLE mine (n int)");
            ask(c, "INSERT INTO mine VALUES (?), (?)", 1, 2);
            say("temp table", one(c, "SELECT sum(n) FROM mine"));
            attempt("temp table", () -> ask(other, "SELECT * FROM mine"));
            ask(c, "DROP TABLE mine");
            attempt("temp table", () -> ask(c, "SELECT * FROM mine"));
            c.setAutoCommit(false);
            ask(c, "CREATE TEMP TABLE brief ON COMMIT DROP AS SELECT 5 AS n");
            say("temp table", one(c, "SELECT n FROM brief"));
            c.commit();
            c.setAutoCommit(true);
            attempt("temp table", () -> ask(c, "SELECT n FROM brief"));
            one(c, "SELECT pg_advisory_lock(?)", 41);
            say("advisory lock", one(other, "SELECT pg_try_advisory_lock(41)"), one(c, "SELECT pg_try_advisory_lock(41)"));
            for (int n = 0; n < 3; n++) {
                say("advisory lock", one(c, "SELECT pg_advisory_unlock(41)"));
            }
            c.setAutoCommit(false);
            one(c, "SELECT pg_advisory_xact_lock(42)");
            say("advisory lock", one(other, "SELECT pg_try_advisory_lock(42)"));
            c.commit();
            c.setAutoCommit(true);
            say("advisory lock", one(other, "SELECT pg_try_advisory_lock(42)"), one(other, "SELECT pg_advisory_unlock(42)"));
        }
    }

    static void large(Connection c) throws Exception {
        ask(c, "INSERT INTO matrix.item VALUES (60, ?)", BIG);
        say("large value", one(c, "SELECT body FROM matrix.item WHERE id = 60"), one(c, "SELECT md5(body) FROM matrix.item WHERE id = 60"));
        say("large value", one(c, "SELECT repeat('y', 30000000)"), one(c, "SELECT length('" + BIG + "')"), one(c, "SELECT ?::bytea", BIG.getBytes()));
        // Large objects are read and written by function calls of the protocol.
        c.setAutoCommit(false);
        LargeObjectManager objects = c.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = objects.createLO();
        try (LargeObject object = objects.open(oid)) {
            object.write(BIG.getBytes(), 0, 1_000_000);
            object.seek(8 * 4711);
            say("large value", object.read(16), object.size());
        }
        objects.delete(oid);
        attempt("large value", () -> one(c, "SELECT count(*) FROM pg_largeobject_metadata WHERE oid = ?", oid));
        try {
            objects.open(oid);
        } catch (SQLException error) {
            say("large value", error.getSQLState());
        }
        c.rollback();
        c.setAutoCommit(true);
    }

    static void notices(Connection c) throws Exception {
        for (String sql : List.of("DO $$ BEGIN RAISE NOTICE 'hello %', 1 USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'careful'; END $$",
                "DROP TABLE IF EXISTS matrix.nothing", "COMMIT")) {
            try (Statement s = c.createStatement()) {
                s.execute(sql);
                for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) {
                    ServerErrorMessage m = ((org.postgresql.util.PSQLWarning) w).getServerErrorMessage();
                    say("notices", m.getSeverity(), m.getSQLState(), m.getMessage(), m.getDetail(), m.getHint());
                }
            }
        }
    }
}
