"""Pages of a small blog, made by a framework as applications use it: how much of that may a replica answer?

Nine pages of ten are read, one posts a comment and shows the page again. STYLE is how transactions are begun:

    django              its default: each statement for itself
    django_atomic       ATOMIC_REQUESTS: a transaction for each page
    sqlalchemy          its default: a transaction for each session, begun by the first statement
    sqlalchemy_auto     isolation_level="AUTOCOMMIT" for pages that are read
    sqlalchemy_readonly postgresql_readonly=True for pages that are read

Whoever posts must find the comment on the page. Django keeps a connection for each thread. SQLAlchemy's pool may give another
connection to the next transaction of the same user, and what one connection wrote the other knows only with "global".
"""
import os
import sys
import threading
import time

USERS = 4
PAGES = 100
THINK = 0.02


def django_pages(style):
    from contextlib import nullcontext

    from django.conf import settings

    where = {"ENGINE": "django.db.backends.postgresql", "NAME": "django", "USER": os.environ["PGUSER"]}
    where |= {"HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"]}
    settings.configure(DATABASES={"default": where}, INSTALLED_APPS=[], USE_TZ=True)
    import django

    django.setup()
    from django.db import connection, models, transaction

    class Post(models.Model):
        title = models.CharField(max_length=50)

        class Meta:
            app_label = "blog"

    class Comment(models.Model):
        post = models.ForeignKey(Post, models.CASCADE)
        text = models.TextField()

        class Meta:
            app_label = "blog"

    with connection.schema_editor() as editor:
        editor.create_model(Post)
        editor.create_model(Comment)
    Post.objects.bulk_create(Post(title=f"post {i}") for i in range(50))
    page_of = transaction.atomic if style == "atomic" else nullcontext

    def show(number):
        with page_of():
            post = Post.objects.get(pk=number % 50 + 1)
            comments = list(Comment.objects.filter(post=post).order_by("-id")[:5])
            list(Post.objects.order_by("-id")[:10])
            return post.comment_set.count(), comments

    def post(number, text):
        with page_of():
            Comment.objects.create(post_id=number % 50 + 1, text=text)

    return show, post, connection.close


def sqlalchemy_pages(style):
    from sqlalchemy import URL, ForeignKey, create_engine, func, select
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

    class Base(DeclarativeBase):
        pass

    class Post(Base):
        __tablename__ = "blog_post"
        id: Mapped[int] = mapped_column(primary_key=True)
        title: Mapped[str]

    class Comment(Base):
        __tablename__ = "blog_comment"
        id: Mapped[int] = mapped_column(primary_key=True)
        post_id: Mapped[int] = mapped_column(ForeignKey("blog_post.id"))
        text: Mapped[str]

    port = int(os.environ["PGPORT"])
    url = URL.create("postgresql+psycopg", os.environ["PGUSER"], None, os.environ["PGHOST"], port, "test")
    engine = create_engine(url, connect_args={"options": "-c pgherd.consistency=global"})
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add_all(Post(title=f"post {i}") for i in range(50))
    options = {"auto": {"isolation_level": "AUTOCOMMIT"}, "readonly": {"postgresql_readonly": True}}
    reader = engine.execution_options(**options.get(style, {}))

    def show(number):
        with Session(reader) as session:
            post = session.get(Post, number % 50 + 1)
            mine = select(Comment).where(Comment.post_id == post.id)
            comments = session.scalars(mine.order_by(Comment.id.desc()).limit(5)).all()
            session.scalars(select(Post).order_by(Post.id.desc()).limit(10)).all()
            count = session.scalar(select(func.count()).select_from(Comment).where(Comment.post_id == post.id))
            return count, comments

    def post(number, text):
        with Session(engine) as session, session.begin():
            session.add(Comment(post_id=number % 50 + 1, text=text))

    return show, post, lambda: None


def main():
    framework, _, style = sys.argv[1].partition("_")
    show, post, goodbye = {"django": django_pages, "sqlalchemy": sqlalchemy_pages}[framework](style)
    # What was created must be read by the proxy, and arrive.
    time.sleep(3)
    faults = []

    def user(me):
        try:
            for page in range(PAGES):
                number = me + USERS * page
                if page % 10 == 9:
                    text = f"{me} {page}"
                    post(number, text)
                    if text not in [comment.text for comment in show(number)[1]]:
                        faults.append(f"user {me} does not see comment {page}")
                else:
                    show(number)
                time.sleep(THINK)
        except Exception as error:
            faults.append(repr(error))
        finally:
            goodbye()

    users = [threading.Thread(target=user, args=(me,)) for me in range(USERS)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    print(*faults, sep="\n")
    with open(sys.argv[2], "w", encoding="utf-8") as results:
        print("pages", "FAILED" if faults else "ok", file=results)


main()
