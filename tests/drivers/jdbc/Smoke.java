// The PostgreSQL JDBC driver through the three ports of pgherd. Run as `java -cp postgresql.jar Smoke.java`.
// Where to connect comes from the environment, see ../README.md.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Smoke {
    static final int CLIENTS = 10;
    static final String BIG = "x".repeat(2_000_000);

    interface Action {
        void run() throws Exception;
    }

    static String env(String name) {
        return Objects.requireNonNull(System.getenv("PGHERD_" + name), "PGHERD_" + name + " is not set");
    }

    static Connection connect(String which, String... more) throws SQLException {
        Properties p = new Properties();
        p.setProperty("user", env("USER"));
        p.setProperty("password", env("PASSWORD"));
        p.setProperty("loginTimeout", "20");
        for (int i = 0; i < more.length; i += 2) {
            p.setProperty(more[i], more[i + 1]);
        }
        return DriverManager.getConnection("jdbc:postgresql://" + env("HOST") + ":" + env(which + "_PORT") + "/" + env("DATABASE"), p);
    }

    static void ok(String what) {
        System.out.println("ok    " + what);
    }

    static void expect(String what, Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) {
            String text = String.valueOf(got);
            throw new AssertionError(what + ": wanted " + wanted + ", got " + text.substring(0, Math.min(200, text.length())));
        }
        ok(what);
    }

    static void refuses(String what, String state, Action action) throws Exception {
        try {
            action.run();
        } catch (SQLException error) {
            expect(what, error.getSQLState(), state);
            return;
        }
        throw new AssertionError(what + ": nothing was refused");
    }

    static void execute(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                s.setObject(i + 1, values[i]);
            }
            s.execute();
        }
    }

    static Object one(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                s.setObject(i + 1, values[i]);
            }
            try (ResultSet r = s.executeQuery()) {
                r.next();
                return r.getObject(1);
            }
        }
    }

    static void transactions(Connection c) throws Exception {
        c.setAutoCommit(false);
        execute(c, "INSERT INTO smoke_jdbc VALUES (?, ?)", 10, "kept");
        c.commit();
        execute(c, "INSERT INTO smoke_jdbc VALUES (?, ?)", 11, "gone");
        c.rollback();
        expect("primary: commit and rollback", one(c, "SELECT count(*) FROM smoke_jdbc WHERE id IN (10, 11)"), 1L);
        Savepoint savepoint = c.setSavepoint();
        refuses("primary: an error in a transaction", "22012", () -> one(c, "SELECT 1/?", 0));
        refuses("primary: which stays failed", "25P02", () -> one(c, "SELECT 1"));
        c.rollback(savepoint);
        expect("primary: recovery by savepoint", one(c, "SELECT 5"), 5);
        c.commit();
        c.setAutoCommit(true);
    }

    static void cursorsAndCopy(Connection c) throws Exception {
        c.setAutoCommit(false);
        try (Statement s = c.createStatement()) {
            s.setFetchSize(100);
            long total = 0;
            try (ResultSet r = s.executeQuery("SELECT n FROM generate_series(1, 1000) n")) {
                while (r.next()) {
                    total += r.getInt(1);
                }
            }
            expect("primary: a portal fetched in parts", total, 500_500L);
        }
        c.commit();
        c.setAutoCommit(true);
        CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
        StringBuilder lines = new StringBuilder();
        for (int n = 1000; n < 6000; n++) {
            lines.append(n).append("\trow ").append(n).append('\n');
        }
        expect("primary: COPY in", copy.copyIn("COPY smoke_jdbc FROM STDIN", new StringReader(lines.toString())), 5000L);
        StringWriter out = new StringWriter();
        copy.copyOut("COPY (SELECT * FROM smoke_jdbc WHERE id >= 1000 ORDER BY id) TO STDOUT", out);
        expect("primary: COPY out gives it back", out.toString().contentEquals(lines), true);
        refuses("primary: COPY of nonsense", "22P02", () -> copy.copyIn("COPY smoke_jdbc FROM STDIN", new StringReader("a\tb\n")));
        execute(c, "INSERT INTO smoke_jdbc VALUES (20, ?)", BIG);
        expect("primary: a value of 2 MB there and back", BIG.equals(one(c, "SELECT body FROM smoke_jdbc WHERE id = 20")), true);
    }

    static void cancelAndBatch(Connection c) throws Exception {
        long began = System.nanoTime();
        try (Statement s = c.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(1000);
                    s.cancel();
                } catch (Exception error) {
                    error.printStackTrace();
                }
            });
            canceller.start();
            refuses("primary: cancel", "57014", () -> s.execute("SELECT pg_sleep(60)"));
            canceller.join();
        }
        try (Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            refuses("primary: query timeout", "57014", () -> s.execute("SELECT pg_sleep(60)"));
        }
        expect("primary: cancel is quick", System.nanoTime() - began < 20_000_000_000L, true);
        try (PreparedStatement s = c.prepareStatement("INSERT INTO smoke_jdbc VALUES (?, 'batch')")) {
            for (int n = 0; n < 500; n++) {
                s.setInt(1, 10_000 + n);
                s.addBatch();
            }
            expect("primary: a pipelined batch of 500", s.executeBatch().length, 500);
        }
        try (PreparedStatement s = c.prepareStatement("INSERT INTO smoke_jdbc VALUES (?, 'twice')")) {
            for (int n = 0; n < 50; n++) {
                s.setInt(1, 20_000 + n % 49);
                s.addBatch();
            }
            refuses("primary: an error inside a batch", "23505", s::executeBatch);
        }
        expect("primary: the connection lives on after it", one(c, "SELECT 8"), 8);
    }

    static void client(int number) throws Exception {
        // A threshold of 1 makes the driver use a named server-side statement from the first execution on.
        try (Connection c = connect("PRIMARY", "prepareThreshold", "1", "ApplicationName", "smoke_jdbc_" + number);
                PreparedStatement shared = c.prepareStatement("SELECT ?::int + 1");
                PreparedStatement own = c.prepareStatement("SELECT " + number + " * ?::int")) {
            for (int n = 0; n < 20; n++) {
                for (PreparedStatement s : List.of(shared, own)) {
                    s.setInt(1, n);
                    try (ResultSet r = s.executeQuery()) {
                        r.next();
                        int wanted = s == shared ? n + 1 : number * n;
                        if (r.getInt(1) != wanted) {
                            throw new AssertionError("client " + number + " got another statement's answer");
                        }
                    }
                }
                if (n % 5 == 0) {
                    c.setAutoCommit(false);
                    one(c, "SELECT 1 FROM pg_sleep(0.01)");
                    execute(c, "INSERT INTO smoke_jdbc VALUES (?, 'concurrent')", 100_000 + 1000 * number + n);
                    c.commit();
                    c.setAutoCommit(true);
                }
            }
            Object name = one(c, "SHOW application_name");
            if (!name.equals("smoke_jdbc_" + number)) {
                throw new AssertionError("another client's application_name: " + name);
            }
        }
    }

    static void concurrency(Connection c) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(CLIENTS);
        List<Future<Void>> all = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            int number = n;
            Callable<Void> task = () -> {
                client(number);
                return null;
            };
            all.add(pool.submit(task));
        }
        for (Future<Void> one : all) {
            one.get();
        }
        pool.shutdown();
        ok("primary: prepared statements of " + CLIENTS + " clients at once");
        expect("primary: each of their rows", one(c, "SELECT count(*) FROM smoke_jdbc WHERE id >= 100000"), CLIENTS * 4L);
    }

    static void replicas() throws Exception {
        try (Connection c = connect("REPLICAS")) {
            Object seen = null;
            for (int n = 0; n < 100 && !Long.valueOf(2).equals(seen); n++) {
                try {
                    seen = one(c, "SELECT count(*) FROM smoke_jdbc WHERE id IN (1, 10)");
                } catch (SQLException notYet) {
                    seen = notYet;
                }
                Thread.sleep(100);
            }
            expect("replicas: rows arrive", seen, 2L);
            expect("replicas: a node in recovery answers", one(c, "SELECT pg_is_in_recovery()"), true);
            refuses("replicas: a write (25006)", "25006", () -> execute(c, "INSERT INTO smoke_jdbc VALUES (?, NULL)", 30));
            expect("replicas: the connection lives on", one(c, "SELECT 10"), 10);
        }
        try (Connection c = connect("REPLICAS", "targetServerType", "secondary")) {
            expect("replicas: targetServerType=secondary is satisfied", one(c, "SELECT 11"), 11);
        }
    }

    static void anywhere() throws Exception {
        try (Connection c = connect("ANY")) {
            execute(c, "INSERT INTO smoke_jdbc VALUES (40, 'any')");
            expect("any: writes and reads", one(c, "SELECT body FROM smoke_jdbc WHERE id = ?", 40), "any");
            c.setReadOnly(true);
            c.setAutoCommit(false);
            expect("any: a read-only transaction", one(c, "SELECT 12"), 12);
            c.commit();
            refuses("any: a write in it (25006)", "25006", () -> execute(c, "DELETE FROM smoke_jdbc WHERE id = ?", 1));
            c.rollback();
            c.setReadOnly(false);
            c.setAutoCommit(true);
            execute(c, "DROP TABLE smoke_jdbc");
        }
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection c = connect("PRIMARY", "targetServerType", "primary")) {
            execute(c, "DROP TABLE IF EXISTS smoke_jdbc");
            execute(c, "CREATE TABLE smoke_jdbc (id int PRIMARY KEY, body text)");
            execute(c, "INSERT INTO smoke_jdbc VALUES (?, ?)", 1, "one");
            expect("primary: an insert with parameters", one(c, "SELECT body FROM smoke_jdbc WHERE id = ?", 1), "one");
            transactions(c);
            cursorsAndCopy(c);
            cancelAndBatch(c);
            concurrency(c);
        }
        replicas();
        anywhere();
    }
}
