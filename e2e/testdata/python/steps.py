"""What the scripts here share: where the server is, what to call things, and
how to say what was done and what is wrong."""

import contextlib
import os

URL = os.environ["E2E_URL"]


def name(prefix):
    """Make a secret's name, which the audit log alone may show."""
    return prefix + "_" + os.environ["E2E_NAME"]


def private(prefix):
    """Make a text that may be seen nowhere: a value, a password, a user."""
    return prefix + "-" + os.environ["E2E_PRIVATE"]


def confide(token):
    """Tell the test of a token, for which it then searches the disk."""
    with open(os.environ["E2E_TOKENS"], "a", encoding="utf-8") as f:
        f.write(token + "\n")
    return token


@contextlib.contextmanager
def step(title):
    """Do a step, and print its title when it is done."""
    yield
    print("ok", title, flush=True)


def same(got, want):
    """Compare, and fail with both."""
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


@contextlib.contextmanager
def refused(exception, check):
    """Want an exception of a type for which check is true."""
    try:
        yield
    except exception as e:
        if not check(e):
            raise
        return
    raise AssertionError(f"no {exception.__name__} was raised")
