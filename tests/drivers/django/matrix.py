"""Django's ORM on psycopg 3, with parameters bound and statements prepared by the server: what it sees of every feature of the
matrix. Run twice and compared, see ../README.md."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import django
import psycopg
from django.conf import settings as configuration
from django.db import DatabaseError, connection, connections, models, transaction
from django.db.models import Count, F, Func, Sum, TextField, Value

from transcript import BIG, CLIENTS, DATABASE, HOST, LISTENERS, PASSWORD, PORT, PREPARERS, ROUNDS, USER, Seen, fields, say

OPTIONS = {"server_side_binding": True, "prepare_threshold": 1, "connect_timeout": 20}


def database(**options):
    return {"ENGINE": "django.db.backends.postgresql", "HOST": HOST, "PORT": PORT, "USER": USER, "PASSWORD": PASSWORD, "NAME": DATABASE,
            "CONN_MAX_AGE": None, "OPTIONS": OPTIONS | options}


clients = {
    f"client_{n}": database(application_name=f"client_{n}", options=f"-c search_path=client_{n} -c matrix.tag={n}") for n in range(CLIENTS)
}
named = database(application_name="named", options="-c search_path=client_3 -c work_mem=5MB -c matrix.tag=startup")
configuration.configure(DATABASES={"default": database(), "other": database(), "named": named} | clients, USE_TZ=True, TIME_ZONE="UTC",
                        DEFAULT_AUTO_FIELD="django.db.models.AutoField", INSTALLED_APPS=["django.contrib.postgres"])
django.setup()

from django.contrib.postgres.fields import ArrayField, IntegerRangeField  # noqa: E402 - they want the settings


class Item(models.Model):
    id = models.IntegerField(primary_key=True)
    body = models.TextField(null=True)

    class Meta:
        app_label, managed, db_table = "matrix", False, '"matrix"."item"'


class Kind(models.Model):
    id = models.IntegerField(primary_key=True)
    mood = models.CharField(max_length=4)
    moods = ArrayField(models.CharField(max_length=4))
    amount = models.DecimalField(max_digits=12, decimal_places=4)
    at = models.DateTimeField()
    document = models.JSONField()
    span = IntegerRangeField()

    class Meta:
        app_label, managed, db_table = "matrix", False, '"matrix"."kinds"'


class Who(models.Model):
    """In every client's schema: which of them says the search_path."""

    tag = models.IntegerField(primary_key=True)

    class Meta:
        app_label, managed, db_table = "matrix", False, "who"


class Mixed(models.Model):
    client = models.IntegerField(primary_key=True)
    round = models.IntegerField()

    class Meta:
        app_label, managed, db_table = "matrix", False, '"matrix"."mixed"'


class Counter(models.Model):
    value = models.IntegerField(primary_key=True)

    class Meta:
        app_label, managed, db_table = "matrix", False, '"matrix"."counter"'


class Author(models.Model):
    name = models.TextField(unique=True)
    friends = models.ManyToManyField("self")

    class Meta:
        app_label = "matrix"


class Book(models.Model):
    title = models.TextField()
    author = models.ForeignKey(Author, models.CASCADE)

    class Meta:
        app_label = "matrix"


def rows(text, parameters=None, c=connection):
    """The rows, when there are any, else what the command said."""
    with c.cursor() as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchall() if cursor.description else cursor.statusmessage


def one(text, parameters=None, c=connection):
    return rows(text, parameters, c)[0][0]


def attempt(feature, action, *parameters, **more):
    try:
        say(feature, "no error", action(*parameters, **more))
    except (DatabaseError, psycopg.Error) as error:
        say(feature, type(error).__name__, *fields(error.__cause__ or error))


def prepare():
    for n in (1, 2, 3, 4):
        say("prepare", list(Item.objects.filter(id=n).values_list("id", "body")), one("SELECT %s::numeric", ["1.5"]))
    rows("PREPARE own (int) AS SELECT $1 * 2")
    say("sql prepare", one("EXECUTE own(21)"))
    attempt("sql prepare", rows, "PREPARE own AS SELECT 1")
    say("sql prepare", rows("DEALLOCATE own"))
    attempt("sql prepare", rows, "EXECUTE own(1)")


def batch():
    say("batch", len(Item.objects.bulk_create([Item(id=n, body=f"batch {n}") for n in range(100, 600)], batch_size=100)))
    merged = Item.objects.bulk_create([Item(id=n, body="merged") for n in range(595, 605)], update_conflicts=True, unique_fields=["id"], update_fields=["body"])
    say("batch", len(merged), Item.objects.filter(body="merged").count())
    attempt("batch", Item.objects.bulk_create, [Item(id=n % 49 + 1000) for n in range(50)])
    changed = list(Item.objects.filter(id__gte=600))
    for item in changed:
        item.body = f"changed {item.id}"
    say("batch", Item.objects.bulk_update(changed, ["body"]), Item.objects.filter(id__gte=600).update(body=F("body")), Item.objects.count())
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO matrix.item VALUES (%s, %s)", [(n, "many") for n in range(700, 710)])
        say("batch", cursor.rowcount, Item.objects.filter(body="many").delete())


def cursors():
    # A cursor of the server, WITH HOLD outside of a transaction.
    say("cursor", sum(item.id for item in Item.objects.filter(id__gte=100).order_by("id").iterator(chunk_size=50)))
    with transaction.atomic():
        walker, other = (Item.objects.filter(id__gte=100).order_by(order).iterator(chunk_size=50) for order in ("id", "-id"))
        say("cursor", [(next(walker).id, next(other).id) for _ in range(60)])
    with transaction.atomic():
        say("cursor", list(Item.objects.select_for_update(skip_locked=True).filter(id__lt=3).order_by("id").values_list("id", flat=True)))


def copy():
    lines = "".join(f"{n}\trow {n}\n" for n in range(10_000, 15_000))
    with connection.cursor() as cursor:
        with cursor.copy("COPY matrix.item FROM STDIN") as into:
            into.write(lines)
        say("copy in", cursor.rowcount, Item.objects.filter(id__gte=10_000).count())

        def nonsense():
            with transaction.atomic(), cursor.copy("COPY matrix.item FROM STDIN") as into:
                into.write("a\tb\n")
        attempt("copy in", nonsense)
        with cursor.copy("COPY (SELECT * FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT") as out:
            say("copy out", b"".join(bytes(block) for block in out) == lines.encode())


def heard(c, count):
    return [(n.channel, n.payload) for n in c.connection.notifies(timeout=20, stop_after=count)]


def listen():
    other = connections["other"]
    rows("LISTEN matrix_news", c=other)
    try:
        with transaction.atomic():
            rows("SELECT pg_notify('matrix_news', 'undone')")
            raise ValueError
    except ValueError:
        pass
    with transaction.atomic():
        for payload in ("first", "first", "second"):
            rows("SELECT pg_notify('matrix_news', %s)", [payload])
    say("listen", heard(other, 2))
    rows("NOTIFY matrix_news, 'its own'", c=other)
    say("listen", heard(other, 1), rows("UNLISTEN *", c=other))


def savepoints():
    def inner():
        with transaction.atomic():
            Item.objects.create(id=51, body="inner")
            Item.objects.create(id=50, body="again")
    with transaction.atomic():
        Item.objects.create(id=50, body="outer")
        attempt("savepoint", inner)
        with transaction.atomic():
            Item.objects.create(id=52, body="second")
        point = transaction.savepoint()
        Item.objects.create(id=53, body="third")
        transaction.savepoint_rollback(point)
        transaction.on_commit(lambda: say("savepoint", "after COMMIT", connection.in_atomic_block))
    say("savepoint", list(Item.objects.filter(id__in=(50, 51, 52, 53)).order_by("id").values_list()))

    def broken():
        with transaction.atomic():
            try:
                rows("SELECT 1/0")
            except DatabaseError:
                Item.objects.count()
    attempt("savepoint", broken)


def cancel_and_timeout():
    timer = threading.Timer(0.5, connection.connection.cancel_safe)
    timer.start()
    attempt("cancel", rows, "SELECT pg_sleep(60)")
    timer.join()
    say("cancel", Item.objects.get(id=1).body)
    rows("SET statement_timeout = 200")
    attempt("timeout", rows, "SELECT pg_sleep(60)")
    with transaction.atomic():
        rows("SET LOCAL statement_timeout = 0")
        say("timeout", one("SELECT pg_sleep(0.4)::text"))
    attempt("timeout", rows, "SELECT pg_sleep(60)")
    rows("RESET statement_timeout")


def recovery():
    for text in ("SELECT 1/0", "SELEC 1", "SELECT nothing", "TABLE nowhere", "INSERT INTO matrix.item VALUES (1, 'twice')",
                 "INSERT INTO matrix.kinds (id) VALUES (2)", "SELECT (-1)::matrix.positive"):
        attempt("recovery", rows, text)
    attempt("recovery", Item.objects.create, id=1, body="twice")
    attempt("recovery", Kind.objects.create, id=2, mood="no mood", moods=[], amount=1, at=datetime.now(timezone.utc), document={}, span=None)
    say("recovery", Item.objects.get_or_create(id=1, defaults={"body": "x"})[0].body, connection.is_usable(), connection.get_autocommit())


def types():
    with connection.schema_editor() as editor:
        for model in (Author, Book):
            editor.create_model(model)
    seen = connection.introspection
    with connection.cursor() as cursor:
        say("types", sorted(seen.get_table_list(cursor)))
        for table in ("matrix_author", "matrix_book"):
            say("types", seen.get_table_description(cursor, table))
            say("types", sorted(seen.get_constraints(cursor, table).items()))
            say("types", seen.get_relations(cursor, table), seen.get_sequences(cursor, table))
    kind = Kind.objects.get(mood="fine", document__a__0=1, span__contains=3)
    say("types", *(getattr(kind, field.name) for field in Kind._meta.fields))
    author = Author.objects.create(name="Astrid")
    author.friends.add(Author.objects.create(name="Selma"))
    Book.objects.bulk_create([Book(title=f"Book {n}", author=author) for n in range(5)])
    say("types", list(Book.objects.select_related("author").order_by("id").values_list("title", "author__name", "author__friends__name")))
    say("types", list(Book.objects.values_list("author__name").annotate(books=Count("id"))))


def settings():
    c = connections["named"]

    def show(*names):
        return [one(f"SHOW {name}", c=c) for name in names]
    who = lambda: Who.objects.using("named").get().tag
    shown = ("application_name", "search_path", "work_mem", "matrix.tag", "TimeZone", "default_transaction_isolation")
    say("settings", show(*shown), who(), one("SHOW search_path"), c.pg_version)
    rows("SET search_path = client_4", c=c)
    rows("SET TIME ZONE 'Asia/Tokyo'", c=c)
    say("settings", who(), show("TimeZone"), c.connection.info.parameter_status("TimeZone"))
    with transaction.atomic(using="named"):
        rows("SET search_path = client_5", c=c)
        rows("SET LOCAL work_mem = '7MB'", c=c)
        say("settings", who(), show("work_mem"))
        transaction.set_rollback(True, using="named")
    say("settings", who(), show(*shown))
    attempt("settings", rows, "SET work_mem = 'nonsense'", c=c)
    attempt("settings", rows, "SET no_such_setting = 1", c=c)
    c.close()


def session_state():
    other = connections["other"]
    rows("CREATE TEMP TABLE mine (n int)")
    rows("INSERT INTO mine VALUES (1), (2)")
    say("temp table", one("SELECT sum(n) FROM mine"))
    attempt("temp table", rows, "SELECT * FROM mine", c=other)
    rows("DROP TABLE mine")
    attempt("temp table", rows, "SELECT * FROM mine")
    rows("SELECT pg_advisory_lock(41)")
    say("advisory lock", one("SELECT pg_try_advisory_lock(41)", c=other), one("SELECT pg_advisory_unlock(41)"), one("SELECT pg_advisory_unlock(41)"))
    with transaction.atomic():
        rows("SELECT pg_advisory_xact_lock(42)")
        say("advisory lock", one("SELECT pg_try_advisory_lock(42)", c=other))
    say("advisory lock", one("SELECT pg_try_advisory_lock(42)", c=other), one("SELECT pg_advisory_unlock(42)", c=other))


def large():
    Item.objects.create(id=60, body=BIG)
    digest = Func("body", function="md5", output_field=TextField())
    say("large value", Item.objects.get(id=60).body, Item.objects.annotate(digest=digest).values_list("digest", flat=True).get(id=60))
    say("large value", one("SELECT repeat('y', 30000000)"), Item.objects.filter(body=Value(BIG)).count())


def client(number):
    seen, alias = Seen(number), f"client_{number}"
    c = connections[alias]
    try:
        if number < PREPARERS:
            rows(f"PREPARE mine (int) AS SELECT {number} * $1", c=c)
        if number < LISTENERS:
            rows(f"LISTEN channel_{number}", c=c)
        for n in range(ROUNDS):
            seen("who", Who.objects.using(alias).get().tag)
            seen("own", one(f"SELECT {number} + %s::int - %s::int", [n, n], c=c))
            seen("set", [one(f"SHOW {name}", c=c) for name in ("application_name", "matrix.tag", "search_path")])
            if number < PREPARERS:
                seen("mine", one(f"EXECUTE mine({n})", c=c) - number * n)
            try:
                rows("SELECT %s::text::int", [f"x{number}"], c=c)
            except DatabaseError as error:
                seen("error", error.__cause__.diag.message_primary)
            with transaction.atomic(using=alias):
                Mixed.objects.using(alias).create(client=number, round=n)
                seen("inside", Who.objects.using(alias).get().tag)
        rows("CREATE TEMP TABLE mine AS SELECT tag FROM who", c=c)
        seen("temp", one("SELECT tag FROM mine", c=c))
        rows("DROP TABLE mine", c=c)
        with transaction.atomic(using=alias):
            rows("SELECT pg_advisory_xact_lock(7)", c=c)
            Counter.objects.using(alias).update(value=Counter.objects.using(alias).get().value + 1)
        rows("SET search_path = public", c=c)
        author = Author.objects.using(alias).create(name=f"author {number}")
        Book.objects.using(alias).create(title=f"of {number}", author=author)
        seen("objects", list(Book.objects.using(alias).filter(author__name=f"author {number}").values_list("title", "author__name")))
        if number < LISTENERS:
            rows(f"NOTIFY channel_{number}, 'for {number}'", c=c)
            seen("news", heard(c, 1))
    except Exception as fault:  # it belongs into the transcript, too
        seen("fault", repr(fault))
    c.close()
    return seen


def mix():
    with ThreadPoolExecutor(CLIENTS) as pool:
        for seen in pool.map(client, range(CLIENTS)):
            seen.tell()
    grouped = Mixed.objects.values("client").annotate(rounds=Count("round"), total=Sum("round")).order_by("client")
    say("mix", list(grouped.values_list("client", "rounds", "total")), Counter.objects.get().value)


def tidy():
    rows("DROP TABLE IF EXISTS public.matrix_book, public.matrix_author_friends, public.matrix_author")


tidy()
for feature in (prepare, batch, cursors, copy, listen, savepoints, cancel_and_timeout, recovery, types, settings, session_state, large, mix, tidy):
    feature()
connections.close_all()
