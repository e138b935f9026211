package matrix;

import static matrix.Transcript.*;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** The PostgreSQL JDBC driver: what it sees of every feature of the matrix. Run twice and compared, see ../../README.md. */
final class Matrix {
    static class Seen extends TreeMap<String, TreeSet<String>> {
        void see(String what, Object value) throws Exception {
            computeIfAbsent(what, unused -> new TreeSet<>()).add(brief(value));
        }
    }

    static Seen client(int number) throws Exception {
        Seen seen = new Seen();
        // A threshold of 1 makes the driver use a named statement from the first execution on, and all clients the same names.
        try (Connection c = connect("prepareThreshold", "1", "ApplicationName", "client_" + number, "currentSchema", "client_" + number,
                "options", "-c matrix.tag=" + number); PreparedStatement who = c.prepareStatement("SELECT tag FROM who")) {
            if (number < PREPARERS) {
                ask(c, "PREPARE mine (int) AS SELECT " + number + " * $1");
            }
            if (number < LISTENERS) {
                ask(c, "LISTEN channel_" + number);
            }
            for (int n = 0; n < ROUNDS; n++) {
                seen.see("who", all(who.executeQuery()));
                seen.see("own", one(c, "SELECT " + number + " + ?::int - ?::int", n, n));
                seen.see("set", List.of(one(c, "SHOW application_name"), one(c, "SHOW matrix.tag"), one(c, "SHOW search_path"), c.getSchema()));
                if (number < PREPARERS) {
                    seen.see("mine", (int) one(c, "EXECUTE mine(" + n + ")") - number * n);
                }
                try {
                    one(c, "SELECT ?::text::int", "x" + number);
                } catch (SQLException error) {
                    seen.see("error", fields(error));
                }
                c.setAutoCommit(false);
                ask(c, "INSERT INTO matrix.mixed VALUES (?, ?)", number, n);
                seen.see("inside", all(who.executeQuery()));
                c.commit();
                c.setAutoCommit(true);
            }
            ask(c, "CREATE TEMP TABLE mine AS SELECT tag FROM who");
            seen.see("temp", one(c, "SELECT tag FROM mine"));
            ask(c, "DROP TABLE mine");
            one(c, "SELECT pg_advisory_lock(7)");
            ask(c, "UPDATE matrix.counter SET value = ?", (int) one(c, "SELECT value FROM matrix.counter") + 1);
            seen.see("unlock", one(c, "SELECT pg_advisory_unlock(7)"));
            if (number < LISTENERS) {
                ask(c, "NOTIFY channel_" + number + ", 'for " + number + "'");
                seen.see("news", heard(c, 1, 20_000));
            }
        } catch (Exception fault) { // it belongs into the transcript, too
            seen.see("fault", fault);
        }
        return seen;
    }

    static void mix(Connection c) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(CLIENTS);
        List<Future<Seen>> clients = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            int number = n;
            clients.add(pool.submit(() -> client(number)));
        }
        for (int n = 0; n < CLIENTS; n++) {
            say("mix", "client " + n, clients.get(n).get());
        }
        pool.shutdown();
        say("mix", ask(c, "SELECT client, count(*), sum(round) FROM matrix.mixed GROUP BY client ORDER BY client"), one(c, "SELECT value FROM matrix.counter"));
    }

    interface Feature {
        void tell(Connection c) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        List<Feature> features = List.of(Statements::prepare, Statements::batch, Statements::cursors, Statements::copy, Sessions::listen,
                Statements::savepoints, Sessions::cancelAndTimeout, Sessions::recovery, Sessions::types, Sessions::settings, Sessions::sessionState,
                Sessions::large, Sessions::notices, Matrix::mix);
        try (Connection c = connect()) {
            for (Feature feature : features) {
                feature.tell(c);
            }
        }
    }
}
