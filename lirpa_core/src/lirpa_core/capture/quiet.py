"""Keeps what torch prints while a model is exported out of the way of the error that says what to do."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


def _nothing(record: logging.LogRecord) -> bool:
    return False


@contextmanager
def quiet() -> Iterator[None]:
    """While this is open, torch's loggers are silent, and an error's graph is not printed.

    torch prints the whole graph so far (hundreds of lines) before it raises. What else is written to `sys.stderr`
    meanwhile, by the model itself say, comes out when the context ends. With `TORCH_LOGS` set everything is as torch does it.
    """
    if os.environ.get("TORCH_LOGS"):
        yield
        return
    loggers = [
        logger
        for name, logger in list(logging.root.manager.loggerDict.items())
        if name.partition(".")[0] == "torch" and isinstance(logger, logging.Logger) and not logger.disabled
    ]
    handlers = {
        id(h): h for logger in loggers for h in logger.handlers
    }.values()  # of loggers that are made meanwhile
    held, printed = io.StringIO(), ""
    for logger in loggers:
        logger.disabled = True
    for handler in handlers:
        handler.addFilter(_nothing)
    try:
        with redirect_stderr(held):
            yield
    except BaseException as error:
        printed = f"{getattr(error, 'partial_fx_graph', '')}\n"
        raise
    finally:
        for logger in loggers:
            logger.disabled = False
        for handler in handlers:
            handler.removeFilter(_nothing)
        text = held.getvalue()
        sys.stderr.write(text.replace(printed, "") if printed.strip() else text)
