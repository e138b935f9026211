"""SQLAlchemy on the driver that is named as the argument, psycopg or asyncpg: what it sees of every feature of the matrix.
Run twice and compared, see ../README.md."""

import asyncio
import io
import sys
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import URL, BigInteger, Column, ForeignKey, Integer, Table, column, delete, exc, func, insert, inspect, select, table, text, update
from sqlalchemy.dialects.postgresql import ARRAY, DOMAIN, ENUM, INT4RANGE, JSONB, Range
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.pool import NullPool

from transcript import BIG, CLIENTS, DATABASE, HOST, LISTENERS, PASSWORD, PORT, PREPARERS, ROUNDS, USER, Seen, say

DRIVER = sys.argv[1]


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    __table_args__ = {"schema": "matrix"}
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str | None]


class Kind(Base):
    __tablename__ = "kinds"
    __table_args__ = {"schema": "matrix"}
    id: Mapped[int] = mapped_column(primary_key=True)
    mood: Mapped[str] = mapped_column(ENUM("sad", "fine", name="mood", schema="matrix"))
    moods: Mapped[list[str]] = mapped_column(ARRAY(ENUM("sad", "fine", name="mood", schema="matrix")))
    positive: Mapped[int] = mapped_column(DOMAIN("positive", Integer, schema="matrix"))
    amount: Mapped[Decimal]
    at: Mapped[datetime]
    document: Mapped[Any] = mapped_column(JSONB)
    span: Mapped[Range[int]] = mapped_column(INT4RANGE)


class Author(Base):
    __tablename__ = "author"
    __table_args__ = {"schema": "matrix"}
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    books: Mapped[list["Book"]] = relationship(order_by="Book.id", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "book"
    __table_args__ = {"schema": "matrix"}
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("matrix.author.id"))


MIXED = table("mixed", column("client"), column("round"), schema="matrix")
COUNTER = table("counter", column("value"), schema="matrix")
OWN = Table("who", Base.metadata, Column("tag", Integer))
# The same text for everybody: which table it is says the search_path.
WHO = select(table("who", column("tag", Integer)))


def engine(settings=None, **more):
    """Settings of the startup packet, in the driver's own words."""
    settings = settings or {}
    if DRIVER == "asyncpg":
        arguments = {"server_settings": settings, "timeout": 20}
    else:
        arguments = {"options": " ".join(f"-c {name}={value}" for name, value in settings.items()), "connect_timeout": 20}
    url = URL.create(f"postgresql+{DRIVER}", username=USER, password=PASSWORD, host=HOST, port=PORT, database=DATABASE)
    return create_async_engine(url, connect_args=arguments, **more)


def fields(error):
    orig = getattr(error, "orig", None)
    return [type(error).__name__, getattr(orig, "sqlstate", None), str(orig or error).split("\n")]


async def attempt(feature, action):
    try:
        say(feature, "no error", await action)
    except (exc.SQLAlchemyError, asyncio.TimeoutError, asyncio.CancelledError) as error:
        say(feature, *fields(error))


async def rows(c, statement, parameters=None):
    result = await c.execute(text(statement) if isinstance(statement, str) else statement, parameters)
    return [tuple(row) for row in result] if result.returns_rows else result.rowcount


async def driver(c):
    """The driver's own connection below."""
    return (await c.get_raw_connection()).driver_connection


async def prepare(e):
    async with e.connect() as c:
        for n in (1, 2, 3, 4):
            say("prepare", await rows(c, select(Item.id, Item.body).where(Item.id == n)))
        say("prepare", await rows(c, "SELECT CAST(:a AS numeric), CAST(:b AS text[])", {"a": Decimal("1.5"), "b": ["x", None]}))
    async with e.connect() as c:
        await rows(c, "PREPARE own (int) AS SELECT $1 * 2")
        await c.commit()
        say("sql prepare", await rows(c, "EXECUTE own(21)"))
        await attempt("sql prepare", rows(c, "PREPARE own AS SELECT 1"))
        await c.rollback()
        await rows(c, "DEALLOCATE own")
        await c.commit()


async def batch(e):
    async with e.begin() as c:
        say("batch", (await c.execute(insert(Item), [{"id": n, "body": f"batch {n}"} for n in range(100, 600)])).rowcount)
        returned = await c.execute(insert(Item).returning(Item.id, sort_by_parameter_order=True), [{"id": n, "body": ""} for n in range(600, 610)])
        say("batch", returned.scalars().all())
        merged = upsert(Item).values([{"id": n, "body": "merged"} for n in range(605, 615)])
        say("batch", (await c.execute(merged.on_conflict_do_update(index_elements=["id"], set_={"body": merged.excluded.body}))).rowcount)
        changes = [{"key": n, "value": "x"} for n in range(600, 603)]
        say("batch", await rows(c, "UPDATE matrix.item SET body = :value WHERE id = :key", changes))
    async with e.connect() as c:
        await attempt("batch", c.execute(insert(Item), [{"id": n % 49 + 1000, "body": ""} for n in range(50)]))
        await c.rollback()
        say("batch", await rows(c, select(func.count(Item.id))))


async def cursors(e):
    async with e.connect() as c:
        result = await c.stream(text("SELECT n FROM generate_series(1, 1000) n"), execution_options={"yield_per": 100})
        say("cursor", sum([row.n async for row in result]))
    async with AsyncSession(e) as session:
        result = await session.stream_scalars(select(Item).where(Item.id >= 600).order_by(Item.id).execution_options(yield_per=3))
        say("cursor", [[item.id for item in part] async for part in result.partitions()])


async def copy(e):
    async with e.begin() as c:
        raw, lines = await driver(c), "".join(f"{n}\trow {n}\n" for n in range(10_000, 15_000))
        if DRIVER == "asyncpg":
            say("copy in", await raw.copy_to_table("item", schema_name="matrix", source=io.BytesIO(lines.encode())))
            out = io.BytesIO()
            told = await raw.copy_from_query("SELECT * FROM matrix.item WHERE id >= 10000 ORDER BY id", output=out)
            say("copy out", told, out.getvalue() == lines.encode())
        else:
            async with raw.cursor() as cursor:
                async with cursor.copy("COPY matrix.item FROM STDIN") as into:
                    await into.write(lines)
                say("copy in", cursor.statusmessage)
                async with cursor.copy("COPY (SELECT * FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT") as out:
                    say("copy out", b"".join([bytes(block) async for block in out]) == lines.encode())
        say("copy in", await rows(c, select(func.count(Item.id))))
    async with e.connect() as c:
        say("copy in", await rows(c, select(func.count(Item.id)).where(Item.id >= 10_000)))


class Ear:
    """Hears one channel on a connection of its own, in the driver's words."""

    def __init__(self, e, channel):
        self.c, self.channel, self.queue = e.execution_options(isolation_level="AUTOCOMMIT").connect(), channel, asyncio.Queue()

    async def __aenter__(self):
        await self.c.start()
        self.raw = await driver(self.c)
        if DRIVER == "asyncpg":
            await self.raw.add_listener(self.channel, self.hear)
        else:
            await rows(self.c, f"LISTEN {self.channel}")
        return self

    def hear(self, connection, pid, channel, payload):
        self.queue.put_nowait((channel, payload))

    async def heard(self, count):
        if DRIVER == "asyncpg":
            return [await asyncio.wait_for(self.queue.get(), 20) for _ in range(count)]
        return [(n.channel, n.payload) async for n in self.raw.notifies(timeout=20, stop_after=count)]

    async def __aexit__(self, *_):
        if DRIVER == "asyncpg":
            await self.raw.remove_listener(self.channel, self.hear)
        else:
            await rows(self.c, f"UNLISTEN {self.channel}")
        await self.c.close()


async def listen(e):
    async with Ear(e, "matrix_news") as ear, e.connect() as c:
        await rows(c, select(func.pg_notify("matrix_news", "undone")))
        await c.rollback()
        for payload in ("first", "first", "second"):
            await rows(c, select(func.pg_notify("matrix_news", payload)))
        await c.commit()
        say("listen", await ear.heard(2))
        await rows(ear.c, "NOTIFY matrix_news, 'its own'")
        say("listen", await ear.heard(1))


async def savepoints(e):
    async with AsyncSession(e) as session:
        session.add(Item(id=50, body="outer"))
        await session.flush()

        async def inner():
            async with session.begin_nested():
                session.add(Item(id=51, body="inner"))
                await session.flush()
                await session.execute(insert(Item).values(id=50, body="again"))
        await attempt("savepoint", inner())
        async with session.begin_nested():
            session.add(Item(id=52, body="second"))
        await session.commit()
        found = await session.scalars(select(Item).where(Item.id.in_((50, 51, 52))).order_by(Item.id))
        say("savepoint", [(item.id, item.body) for item in found])


async def cancel_and_timeout(e):
    async with e.connect() as c:
        task = asyncio.create_task(rows(c, "SELECT pg_sleep(60)"))
        await asyncio.sleep(0.4)
        task.cancel()
        await attempt("cancel", task)
    async with e.connect() as c:
        await rows(c, "SET statement_timeout = 200")
        await c.commit()
        await attempt("timeout", rows(c, "SELECT pg_sleep(60)"))
        await attempt("timeout", rows(c, "SELECT 1"))
        await c.rollback()
        await rows(c, "SET LOCAL statement_timeout = 0")
        say("timeout", await rows(c, "SELECT CAST(pg_sleep(0.4) AS text)"))
        await c.commit()
        await attempt("timeout", rows(c, "SELECT pg_sleep(60)"))
        await c.rollback()
        await rows(c, "RESET statement_timeout")
        await c.commit()


async def recovery(e):
    async with e.connect() as c:
        for statement in ("SELECT 1/0", "SELEC 1", "SELECT nothing", "TABLE nowhere", "INSERT INTO matrix.item VALUES (1, 'twice')",
                          "INSERT INTO matrix.kinds (id) VALUES (2)", "SELECT CAST(-1 AS matrix.positive)"):
            await attempt("recovery", rows(c, statement))
            await attempt("recovery", rows(c, "SELECT 1"))
            await c.rollback()
    for level in ("SERIALIZABLE", "REPEATABLE READ", "AUTOCOMMIT"):
        async with e.connect() as c:
            c = await c.execution_options(isolation_level=level, postgresql_readonly=True)
            say("recovery", await rows(c, "SHOW transaction_isolation"), await rows(c, "SHOW transaction_read_only"))
            await attempt("recovery", rows(c, delete(Item).where(Item.id == 2)))
    async with AsyncSession(e) as session:
        session.add(Item(id=1, body="twice"))
        await attempt("recovery", session.commit())
        await session.rollback()
        say("recovery", (await session.get(Item, 1)).body)


def reflected(connection):
    seen = inspect(connection)
    yield sorted(seen.get_table_names(schema="matrix"))
    for name in ("item", "kinds"):
        yield [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(name, schema="matrix")]
    yield seen.get_pk_constraint("kinds", schema="matrix")
    yield seen.get_foreign_keys("book", schema="matrix")
    yield seen.get_unique_constraints("author", schema="matrix")
    yield [(e["name"], e["labels"]) for e in seen.get_enums(schema="matrix")]
    yield [(d["name"], str(d["type"]), d["constraints"]) for d in seen.get_domains(schema="matrix")]


async def types(e):
    async with e.begin() as c:
        await c.run_sync(Base.metadata.create_all, tables=[Author.__table__, Book.__table__])
        for observed in await c.run_sync(lambda connection: list(reflected(connection))):
            say("types", observed)
    async with AsyncSession(e) as session:
        kind = (await session.scalars(select(Kind).where(Kind.mood == "fine", Kind.span.contains(3), Kind.document["a"][0].as_integer() == 1))).one()
        say("types", *(getattr(kind, name) for name in ("id", "mood", "moods", "positive", "amount", "at", "document", "span")))
        session.add(Author(id=1, name="Astrid", books=[Book(id=n, title=f"Book {n}") for n in range(5)]))
        await session.commit()
        author = (await session.scalars(select(Author).options(selectinload(Author.books)).execution_options(populate_existing=True))).one()
        say("types", author.name, [book.title for book in author.books])


async def settings(e):
    named = engine({"application_name": "named", "search_path": "client_3", "work_mem": "5MB", "matrix.tag": "startup"}, poolclass=NullPool)
    async with named.connect() as c:
        async def show(*names):
            return [(await rows(c, f"SHOW {name}"))[0][0] for name in names]
        shown = ("application_name", "search_path", "work_mem", "matrix.tag", "TimeZone")
        say("settings", await show(*shown), await rows(c, WHO), c.dialect.default_schema_name, c.dialect.server_version_info)
        await rows(c, "SET search_path = client_4")
        await rows(c, "SET TIME ZONE 'Asia/Tokyo'")
        say("settings", await rows(c, WHO), await show("TimeZone"))
        await c.commit()
        await rows(c, "SET search_path = client_5")
        await rows(c, "SET LOCAL work_mem = '7MB'")
        say("settings", await rows(c, WHO), await show("work_mem"))
        await c.rollback()
        say("settings", await rows(c, WHO), await show(*shown))
        await rows(c, select(func.set_config("matrix.tag", "configured", False)))
        await c.commit()
        say("settings", await show(*shown))
        await attempt("settings", rows(c, "SET work_mem = 'nonsense'"))
        await c.rollback()
        await attempt("settings", rows(c, "SET no_such_setting = 1"))
    await named.dispose()
    async with e.connect() as c:
        translated = [await c.scalar(select(OWN.c.tag), execution_options={"schema_translate_map": {None: f"client_{n}"}}) for n in (6, 7)]
        say("settings", translated, await rows(c, "SHOW search_path"))


async def session_state(e):
    mine = Table("mine", Base.metadata, prefixes=["TEMPORARY"])
    mine.append_column(Item.__table__.c.id._copy())
    async with e.connect() as c, e.connect() as other:
        await c.run_sync(lambda connection: mine.create(connection))
        await c.execute(insert(mine), [{"id": 1}, {"id": 2}])
        await c.commit()
        say("temp table", await rows(c, select(func.sum(mine.c.id))))
        await attempt("temp table", rows(other, select(mine)))
        await other.rollback()
        await c.run_sync(lambda connection: mine.drop(connection))
        await c.commit()
        await attempt("temp table", rows(c, select(mine)))
        await c.rollback()
        await rows(c, select(func.pg_advisory_lock(41)))
        await c.commit()
        say("advisory lock", await rows(other, select(func.pg_try_advisory_lock(41))))
        say("advisory lock", await rows(c, select(func.pg_advisory_unlock(41))), await rows(c, select(func.pg_advisory_unlock(41))))
        await c.commit()
        await rows(c, select(func.pg_advisory_xact_lock(42)))
        say("advisory lock", await rows(other, select(func.pg_try_advisory_xact_lock(42))))
        await c.commit()
        say("advisory lock", await rows(other, select(func.pg_try_advisory_xact_lock(42))))


async def large(e):
    async with AsyncSession(e) as session:
        session.add(Item(id=60, body=BIG))
        await session.commit()
        say("large value", await session.scalar(select(Item.body).where(Item.id == 60)))
        say("large value", await session.scalar(select(func.md5(Item.body)).where(Item.id == 60)))
        say("large value", await session.scalar(select(func.repeat("y", 30_000_000))))


async def client(e, number):
    seen = Seen(number)
    own = engine({"application_name": f"client_{number}", "matrix.tag": str(number), "search_path": f"client_{number}"}, pool_pre_ping=True)
    try:
        async with AsyncExitStack() as stack:
            ear = await stack.enter_async_context(Ear(own, f"channel_{number}")) if number < LISTENERS else None
            c = await stack.enter_async_context(own.connect())
            if number < PREPARERS:
                await rows(c, f"PREPARE mine (int) AS SELECT {number} * $1")
                await c.commit()
            for n in range(ROUNDS):
                seen("who", await rows(c, WHO))
                seen("own", await rows(c, f"SELECT {number} + CAST(:a AS int) - CAST(:b AS int)", {"a": n, "b": n}))
                seen("set", [await rows(c, f"SHOW {name}") for name in ("application_name", "matrix.tag", "search_path")])
                if number < PREPARERS:
                    seen("mine", (await rows(c, f"EXECUTE mine({n})"))[0][0] - number * n)
                await c.commit()
                try:
                    await rows(c, "SELECT CAST(CAST(:a AS text) AS int)", {"a": f"x{number}"})
                except exc.DBAPIError as error:
                    seen("error", str(error.orig).split("\n")[0])
                await c.rollback()
                await c.execute(insert(MIXED).values(client=number, round=n))
                seen("inside", await rows(c, WHO))
                await c.commit()
            await rows(c, "CREATE TEMP TABLE mine AS SELECT tag FROM who")
            await c.commit()
            seen("temp", await rows(c, "SELECT tag FROM mine"))
            await rows(c, "DROP TABLE mine")
            await c.commit()
            await rows(c, select(func.pg_advisory_lock(7)))
            await c.commit()
            value = (await rows(c, select(COUNTER)))[0][0]
            await c.execute(update(COUNTER).values(value=value + 1))
            await c.commit()
            seen("unlock", await rows(c, select(func.pg_advisory_unlock(7))))
            await c.commit()
            if ear:
                await rows(c, select(func.pg_notify(f"channel_{number}", f"for {number}")))
                await c.commit()
                seen("news", await ear.heard(1))
        async with AsyncSession(e) as session:
            author = Author(id=100 + number, name=f"author {number}", books=[Book(id=100 + number, title=f"of {number}")])
            session.add(author)
            await session.commit()
            found = await session.scalars(select(Author).where(Author.name == f"author {number}").options(selectinload(Author.books)))
            seen("objects", [(a.id, [b.title for b in a.books]) for a in found])
    except Exception as fault:  # it belongs into the transcript, too
        seen("fault", repr(fault))
    await own.dispose()
    return seen


async def mix(e):
    for seen in await asyncio.gather(*(client(e, number) for number in range(CLIENTS))):
        seen.tell()
    async with e.connect() as c:
        grouped = select(MIXED.c.client, func.count(), func.sum(MIXED.c.round, type_=BigInteger)).group_by(MIXED.c.client).order_by(MIXED.c.client)
        say("mix", await rows(c, grouped), await rows(c, select(COUNTER)))


async def main():
    e = engine(pool_size=CLIENTS)
    for feature in (prepare, batch, cursors, copy, listen, savepoints, cancel_and_timeout, recovery, types, settings, session_state, large, mix):
        await feature(e)
    await e.dispose()


asyncio.run(main())
