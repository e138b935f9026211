"""SQLAlchemy's ORM on psycopg 3 through the three ports of pgherd. Where to connect comes from the environment."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import URL, ForeignKey, String, create_engine, exc, func, inspect, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

CLIENTS = 10


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "smoke_author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    books: Mapped[list["Book"]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "smoke_book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("smoke_author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


def engine(which, **more):
    url = URL.create(
        "postgresql+psycopg",
        username=os.environ["PGHERD_USER"],
        password=os.environ["PGHERD_PASSWORD"],
        host=os.environ["PGHERD_HOST"],
        port=int(os.environ[f"PGHERD_{which}_PORT"]),
        database=os.environ["PGHERD_DATABASE"],
    )
    return create_engine(url, connect_args={"connect_timeout": 20}, **more)


def ok(what):
    print(f"ok    {what}", flush=True)


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: wanted {wanted!r}, got {str(got)[:200]!r}")
    ok(what)


def refuses(what, sqlstate, action):
    try:
        action()
    except exc.DBAPIError as error:
        return expect(what, error.orig.sqlstate, sqlstate)
    raise AssertionError(f"{what}: nothing was refused")


def primary():
    # More connections than the proxy has servers, and a ping before each use.
    rw = engine("PRIMARY", pool_size=CLIENTS, pool_pre_ping=True)
    Base.metadata.drop_all(rw)
    Base.metadata.create_all(rw)
    expect("primary: tables made and reflected", "smoke_book" in inspect(rw).get_table_names(), True)
    with Session(rw) as session:
        session.add(Author(name="Astrid", books=[Book(title=f"Book {n}") for n in range(50)]))
        session.commit()
        author = session.scalars(select(Author).options(selectinload(Author.books))).one()
        expect("primary: an object with its children", len(author.books), 50)
        author.name = "Lindgren"
        session.flush()
        session.rollback()
        expect("primary: rollback", session.scalars(select(Author.name)).one(), "Astrid")
        session.add(Author(name="Astrid"))
        refuses("primary: a unique violation", "23505", session.commit)
        session.rollback()
        with session.begin_nested():
            session.add(Author(name="Selma"))
        session.commit()
        expect("primary: a savepoint after an error", session.scalar(select(func.count(Author.id))), 2)
    with rw.connect() as c, c.begin():
        rows = c.execution_options(stream_results=True, yield_per=100).execute(text("SELECT generate_series(1, 1000)"))
        expect("primary: a streamed result", sum(row[0] for row in rows), 500_500)

    def client(number):
        with Session(rw) as session:
            for n in range(10):
                session.add(Author(name=f"author {number}.{n}", books=[Book(title="t")]))
                session.commit()
                found = session.scalars(select(Author).where(Author.name == f"author {number}.{n}")).one()
                if [b.title for b in found.books] != ["t"]:
                    raise AssertionError(f"client {number} read somebody else's rows")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
    ok(f"primary: sessions of {CLIENTS} clients at once")
    with Session(rw) as session:
        expect("primary: each of their rows", session.scalar(select(func.count(Author.id))), 2 + CLIENTS * 10)
    rw.dispose()


def replicas():
    ro = engine("REPLICAS", pool_pre_ping=True)
    for _ in range(100):
        with Session(ro) as session:
            try:
                if session.scalar(select(func.count(Author.id))) == 2 + CLIENTS * 10:
                    break
            except exc.ProgrammingError:
                pass
        time.sleep(0.1)
    with Session(ro) as session:
        book = session.scalars(select(Book).join(Author).where(Author.name == "Astrid").limit(1)).one()
        expect("replicas: an object and its parent", book.author.name, "Astrid")
        session.add(Author(name="no"))
        refuses("replicas: a write (25006)", "25006", session.commit)
        session.rollback()
    ro.dispose()


def anywhere():
    both = engine("ANY")
    with Session(both) as session:
        session.add(Author(name="any"))
        session.commit()
        expect("any: writes and reads", session.scalar(select(func.count()).where(Author.name == "any")), 1)
    readonly = both.execution_options(postgresql_readonly=True)
    with Session(readonly) as session:
        expect("any: a read-only session", session.scalar(text("SELECT 12")), 12)
    with Session(readonly) as session:
        session.add(Author(name="no"))
        refuses("any: a write in it (25006)", "25006", session.commit)
        session.rollback()
    Base.metadata.drop_all(both)
    both.dispose()


primary()
replicas()
anywhere()
