"""What the Python programs of the matrix share: where to connect, and how an observation is told. See README.md."""

import hashlib
import os

HOST = os.environ["PGHERD_HOST"]
PORT = int(os.environ["PGHERD_PORT"])
USER = os.environ["PGHERD_USER"]
PASSWORD = os.environ["PGHERD_PASSWORD"]
DATABASE = os.environ["PGHERD_DATABASE"]
CLIENTS = int(os.environ["PGHERD_CLIENTS"])
# How many of them listen, and how many keep a statement of SQL's PREPARE.
LISTENERS = int(os.environ["PGHERD_LISTENERS"])
PREPARERS = int(os.environ["PGHERD_PREPARERS"])
ROUNDS = 10
BIG = "".join(f"{n:08d}" for n in range(1_000_000))


def short(value):
    """The value in one line; a long one as its length and digest."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > 400:
        return f"{len(text)} characters, md5 {hashlib.md5(text.encode()).hexdigest()}"
    return text.replace("\n", "\\n")


def say(feature, *observed):
    """One line of the transcript: of which feature, and what was seen."""
    print(feature, *map(short, observed), sep=" | ", flush=True)


def fields(error):
    """What an error or a notice of psycopg 2 or 3 says, in the protocol's fields."""
    diag = error.diag if hasattr(error, "diag") else error
    names = ("severity", "sqlstate", "message_primary", "message_detail", "message_hint", "statement_position")
    return [getattr(diag, name) for name in names if getattr(diag, name) is not None] or [type(error).__name__, str(error)]


class Seen:
    """What one of many clients has seen while the others ran: each thing once, so that a stranger's stands out."""

    def __init__(self, number):
        self.number, self.what = number, {}

    def __call__(self, what, value):
        self.what.setdefault(what, set()).add(short(value))

    def tell(self):
        say("mix", f"client {self.number}", *(f"{what}: {', '.join(sorted(seen))}" for what, seen in sorted(self.what.items())))
