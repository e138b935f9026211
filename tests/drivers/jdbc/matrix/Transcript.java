package matrix;

import java.security.MessageDigest;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** Where to connect, how to ask, and how an observation is told. */
final class Transcript {
    static final int CLIENTS = number("CLIENTS"), LISTENERS = number("LISTENERS"), PREPARERS = number("PREPARERS"), ROUNDS = 10;
    static final String BIG = big();

    interface Action {
        Object run() throws Exception;
    }

    static String env(String name) {
        return Objects.requireNonNull(System.getenv("PGHERD_" + name), "PGHERD_" + name + " is not set");
    }

    static int number(String name) {
        return Integer.parseInt(env(name));
    }

    static String big() {
        StringBuilder text = new StringBuilder();
        for (int n = 0; n < 1_000_000; n++) {
            text.append(String.format("%08d", n));
        }
        return text.toString();
    }

    static String brief(Object value) throws Exception {
        String text = value instanceof Object[] array ? Arrays.deepToString(array)
                : value instanceof byte[] bytes ? new String(bytes, "ISO-8859-1") : String.valueOf(value);
        if (text.length() > 400) {
            byte[] digest = MessageDigest.getInstance("MD5").digest(text.getBytes("UTF-8"));
            return text.length() + " characters, md5 " + HexFormat.of().formatHex(digest);
        }
        return text.replace("\n", "\\n");
    }

    static synchronized void say(String feature, Object... observed) throws Exception {
        StringBuilder line = new StringBuilder(feature);
        for (Object one : observed) {
            line.append(" | ").append(brief(one));
        }
        System.out.println(line);
    }

    static List<Object> fields(Throwable error) {
        ServerErrorMessage m = error instanceof PSQLException e ? e.getServerErrorMessage() : null;
        List<Object> all = new ArrayList<>();
        if (m == null) {
            all.add(error.getClass().getSimpleName() + ": " + error.getMessage());
        } else {
            all.addAll(Arrays.asList(m.getSeverity(), m.getSQLState(), m.getMessage(), m.getDetail(), m.getHint()));
            all.add(m.getPosition() == 0 ? null : m.getPosition());
            all.removeIf(Objects::isNull);
        }
        if (error instanceof BatchUpdateException batch) {
            all.add(Arrays.toString(batch.getUpdateCounts()));
        }
        if (error instanceof SQLException e && e.getNextException() != null) {
            all.addAll(fields(e.getNextException()));
        }
        return all;
    }

    static void attempt(String feature, Action action) throws Exception {
        try {
            say(feature, "no error", action.run());
        } catch (SQLException error) {
            say(feature, fields(error).toArray());
        }
    }

    static Connection connect(String... more) throws SQLException {
        Properties p = new Properties();
        p.setProperty("user", env("USER"));
        p.setProperty("password", env("PASSWORD"));
        p.setProperty("loginTimeout", "20");
        // The driver tells its own name and the machine's zone unless it is told others.
        p.setProperty("ApplicationName", "matrix");
        for (int i = 0; i < more.length; i += 2) {
            p.setProperty(more[i], more[i + 1]);
        }
        return DriverManager.getConnection("jdbc:postgresql://" + env("HOST") + ":" + env("PORT") + "/" + env("DATABASE"), p);
    }

    static List<List<Object>> all(ResultSet r) throws SQLException {
        List<List<Object>> rows = new ArrayList<>();
        while (r.next()) {
            List<Object> row = new ArrayList<>();
            for (int n = 1; n <= r.getMetaData().getColumnCount(); n++) {
                row.add(r.getObject(n));
            }
            rows.add(row);
        }
        return rows;
    }

    /** The rows, or the count of rows. */
    static Object ask(Connection c, String sql, Object... values) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                s.setObject(i + 1, values[i]);
            }
            return s.execute() ? all(s.getResultSet()) : s.getUpdateCount();
        }
    }

    @SuppressWarnings("unchecked")
    static Object one(Connection c, String sql, Object... values) throws SQLException {
        return ((List<List<Object>>) ask(c, sql, values)).get(0).get(0);
    }

    /** Each result of a text of several statements. */
    static List<Object> several(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            List<Object> results = new ArrayList<>();
            for (boolean rows = s.execute(sql); rows || s.getUpdateCount() != -1; rows = s.getMoreResults()) {
                results.add(rows ? all(s.getResultSet()) : s.getUpdateCount());
            }
            return results;
        }
    }

    static List<List<String>> heard(Connection c, int count, int patience) throws Exception {
        List<List<String>> news = new ArrayList<>();
        for (long end = System.currentTimeMillis() + patience; news.size() < count && System.currentTimeMillis() < end; ) {
            for (PGNotification n : c.unwrap(PGConnection.class).getNotifications(100)) {
                news.add(List.of(n.getName(), n.getParameter()));
            }
        }
        return news;
    }
}
