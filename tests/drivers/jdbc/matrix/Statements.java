package matrix;

import static matrix.Transcript.*;

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;

/** Features that are about statements and what they give. */
final class Statements {
    static void prepare(Connection unused) throws Exception {
        // At once, as the driver would after five uses, never, and always in binary.
        for (String threshold : List.of("1", "5", "0", "-1")) {
            for (String mode : List.of("extended", "extendedForPrepared", "extendedCacheEverything", "simple")) {
                try (Connection c = connect("prepareThreshold", threshold, "preferQueryMode", mode)) {
                    List<Object> seen = new ArrayList<>();
                    try (PreparedStatement s = c.prepareStatement("SELECT id, body, ?::numeric, ?::timestamptz FROM matrix.item WHERE id <= ?")) {
                        for (int n = 0; n < 8; n++) {
                            s.setBigDecimal(1, new BigDecimal("1.5"));
                            s.setObject(2, OffsetDateTime.parse("2024-02-29T12:00:00Z"));
                            s.setInt(3, n % 3);
                            seen.add(all(s.executeQuery()).toString());
                        }
                    }
                    say("prepare", threshold, mode, seen, one(c, "SELECT count(*) > 1 FROM matrix.item"));
                    attempt("prepare", () -> ask(c, "SELECT nothing FROM matrix.item WHERE id = ?", 1));
                    attempt("prepare", () -> one(c, "SELECT 1 / ?::int", 0));
                }
            }
        }
        // Few statements are kept by the driver: the others are closed on the server.
        try (Connection c = connect("prepareThreshold", "1", "preparedStatementCacheQueries", "2")) {
            List<Object> seen = new ArrayList<>();
            for (int n = 0; n < 20; n++) {
                seen.add(one(c, "SELECT " + n % 5 + " * ?::int", n));
            }
            say("prepare", seen);
        }
        try (Connection c = connect("prepareThreshold", "1"); PreparedStatement s = c.prepareStatement("SELECT * FROM matrix.item WHERE id = ?")) {
            ParameterMetaData p = s.getParameterMetaData();
            ResultSetMetaData m = s.getMetaData();
            say("prepare", p.getParameterTypeName(1), m.getColumnName(2), m.getColumnTypeName(2), m.isNullable(1), m.getTableName(1));
            // Its plan is thrown away while it is prepared: the driver is told by an error, and prepares it again.
            s.setInt(1, 3);
            say("prepare", all(s.executeQuery()));
            ask(c, "ALTER TABLE matrix.item ADD COLUMN more int");
            attempt("prepare", () -> all(s.executeQuery()));
            ask(c, "ALTER TABLE matrix.item DROP COLUMN more");
            attempt("prepare", () -> all(s.executeQuery()));
        }
        try (Connection c = connect()) {
            ask(c, "PREPARE own (int) AS SELECT $1 * 2");
            say("sql prepare", one(c, "EXECUTE own(21)"));
            attempt("sql prepare", () -> ask(c, "PREPARE own AS SELECT 1"));
            attempt("sql prepare", () -> ask(c, "DEALLOCATE own"));
            attempt("sql prepare", () -> ask(c, "EXECUTE own(1)"));
            // It forgets what it has prepared when it sees this.
            for (int n = 0; n < 8; n++) {
                ask(c, "SELECT ?::int", n);
            }
            say("sql prepare", ask(c, "DEALLOCATE ALL"), one(c, "SELECT ?::int", 9), ask(c, "DISCARD ALL"), one(c, "SELECT ?::int", 10));
        }
    }

    static void batch(Connection c) throws Exception {
        for (String rewrite : List.of("false", "true")) {
            try (Connection other = connect("reWriteBatchedInserts", rewrite)) {
                int start = rewrite.equals("true") ? 100 : 1000;
                try (PreparedStatement s = other.prepareStatement("INSERT INTO matrix.item VALUES (?, 'batch')", Statement.RETURN_GENERATED_KEYS)) {
                    for (int n = 0; n < 600; n++) {
                        s.setInt(1, start + n);
                        s.addBatch();
                    }
                    say("batch", Arrays.toString(s.executeBatch()), all(s.getGeneratedKeys()));
                }
                try (PreparedStatement s = other.prepareStatement("INSERT INTO matrix.item VALUES (?, 'twice')")) {
                    for (int n = 0; n < 50; n++) {
                        s.setInt(1, 3000 + n % 49);
                        s.addBatch();
                    }
                    attempt("batch", s::executeBatch);
                }
                say("batch", one(other, "SELECT count(*) FROM matrix.item"));
            }
        }
        try (Statement s = c.createStatement()) {
            for (String sql : List.of("INSERT INTO matrix.item VALUES (700, '') ON CONFLICT DO NOTHING", "UPDATE matrix.item SET body = body", "SELECT 1/0")) {
                s.addBatch(sql);
            }
            attempt("batch", s::executeBatch);
        }
        // Each statement of a text goes out by itself, and one Sync after them.
        say("batch", several(c, "SELECT 1 AS a; UPDATE matrix.item SET body = 'x' WHERE id = 2; SELECT 2 AS b"));
        attempt("batch", () -> several(c, "INSERT INTO matrix.item VALUES (5000, ''); SELECT 1/0; SELECT 2"));
        say("batch", ask(c, "SELECT id FROM matrix.item WHERE id = 5000"));
    }

    static void cursors(Connection c) throws Exception {
        c.setAutoCommit(false);
        for (int size : List.of(1, 100, 1000, 5000)) {
            try (Statement s = c.createStatement(); Statement between = c.createStatement()) {
                s.setFetchSize(size);
                long total = 0;
                ResultSet r = s.executeQuery("SELECT n FROM generate_series(1, 1000) n");
                while (r.next()) {
                    total += r.getInt(1);
                    if (r.getInt(1) % 400 == 0) {
                        total += all(between.executeQuery("SELECT 1")).size();
                    }
                }
                say("cursor", size, total);
            }
        }
        try (Statement s = c.createStatement()) {
            s.setFetchSize(2);
            attempt("cursor", () -> all(s.executeQuery("SELECT 1 / (5 - n) FROM generate_series(1, 10) n")));
        }
        c.rollback();
        try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
            ResultSet r = s.executeQuery("SELECT id, body FROM matrix.item ORDER BY id");
            r.absolute(2);
            r.updateString(2, "changed where it stands");
            r.updateRow();
            say("cursor", r.getInt(1), r.relative(-1), r.getInt(1), r.last(), one(c, "SELECT body FROM matrix.item WHERE id = 2"));
        }
        c.commit();
        // What the driver was to fetch when it commits is gone.
        try (Statement s = c.createStatement()) {
            s.setFetchSize(2);
            ResultSet r = s.executeQuery("SELECT n FROM generate_series(1, 10) n");
            r.next();
            c.commit();
            attempt("cursor", () -> all(r));
        }
        c.rollback();
        ask(c, "DECLARE walker SCROLL CURSOR FOR SELECT n FROM generate_series(1, 1000) n");
        say("cursor", ask(c, "FETCH 2 FROM walker"), ask(c, "FETCH ABSOLUTE 500 FROM walker"), ask(c, "MOVE LAST FROM walker"), ask(c, "CLOSE walker"));
        ask(c, "DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n");
        c.commit();
        c.setAutoCommit(true);
        say("cursor", ask(c, "FETCH 2 FROM held"), ask(c, "FETCH ALL FROM held"), ask(c, "CLOSE held"));
        attempt("cursor", () -> ask(c, "FETCH 1 FROM held"));
    }

    static void copy(Connection c) throws Exception {
        CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int n = 10_000; n < 15_000; n++) {
            lines.append(n).append("\trow ").append(n).append('\n');
        }
        say("copy in", copy.copyIn("COPY matrix.item (id, body) FROM STDIN", new StringReader(lines.toString())));
        for (String nonsense : List.of("a\tb\n", "1\tdouble key\n")) {
            attempt("copy in", () -> copy.copyIn("COPY matrix.item (id, body) FROM STDIN", new StringReader(nonsense)));
        }
        CopyIn given = copy.copyIn("COPY matrix.item (id, body) FROM STDIN");
        byte[] line = "20000\tgiven up\n".getBytes();
        given.writeToCopy(line, 0, line.length);
        given.cancelCopy();
        say("copy in", given.isActive(), one(c, "SELECT count(*) FROM matrix.item WHERE id = 20000"));
        StringWriter out = new StringWriter();
        say("copy out", copy.copyOut("COPY (SELECT id, body FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT", out));
        say("copy out", out.toString().contentEquals(lines));
        ByteArrayOutputStream binary = new ByteArrayOutputStream();
        say("copy out", copy.copyOut("COPY (SELECT id, body FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT (FORMAT binary)", binary), binary.toByteArray());
        attempt("copy out", () -> copy.copyOut("COPY (SELECT 100 / (50 - n) FROM generate_series(1, 100) n) TO STDOUT", new StringWriter()));
        say("copy out", one(c, "SELECT 1"));
    }

    static void savepoints(Connection c) throws Exception {
        c.setAutoCommit(false);
        ask(c, "INSERT INTO matrix.item VALUES (50, 'outer')");
        Savepoint within = c.setSavepoint("within");
        attempt("savepoint", () -> ask(c, "INSERT INTO matrix.item VALUES (?, 'again')", 50));
        attempt("savepoint", () -> one(c, "SELECT 1"));
        c.rollback(within);
        Savepoint unnamed = c.setSavepoint();
        ask(c, "INSERT INTO matrix.item VALUES (52, 'second')");
        c.releaseSavepoint(unnamed);
        c.commit();
        say("savepoint", ask(c, "SELECT * FROM matrix.item WHERE id IN (50, 51, 52)"));
        c.commit();
        c.setAutoCommit(true);
        // The driver puts a savepoint before each statement by itself, and goes back to it after an error.
        for (String autosave : List.of("always", "conservative")) {
            try (Connection other = connect("autosave", autosave, "prepareThreshold", "1")) {
                other.setAutoCommit(false);
                say("savepoint", autosave, one(other, "SELECT 1"));
                for (int n = 0; n < 3; n++) {
                    attempt("savepoint", () -> one(other, "SELECT 1 / ?::int", 0));
                    attempt("savepoint", () -> one(other, "SELECT ?::int", 2));
                }
                other.rollback();
            }
        }
    }
}
