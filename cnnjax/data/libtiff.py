"""Errors of libtiff, by which Pillow decodes most TIFF files, as exceptions.

By itself it prints its errors, and some damage it reports in no other way.
"""

import contextlib
import ctypes
import threading
from collections.abc import Iterator

from PIL import _imaging

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_LONGEST = 200  # bytes of a message
_thread = threading.local()  # a picture is decoded in one thread


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Raises the first error that libtiff reports meanwhile, in this thread.

    Raises:
        ValueError: if there is one; whatever was raised inside if there is none.
    """
    _thread.errors, failure = [], None
    try:
        yield
    except Exception as error:
        failure = error
    if _thread.errors:
        raise ValueError(_thread.errors[0]) from failure
    if failure is not None:
        raise failure


def _hear(module: bytes | None, form: bytes, values: int) -> None:
    line = ctypes.create_string_buffer(_LONGEST)
    _written(line, _LONGEST, form, values)
    text = line.value.decode("utf-8", "replace").rstrip(".")
    if hasattr(_thread, "errors"):
        _thread.errors.append(text)


def _install() -> _Handler | None:
    """Returns the handler, which must outlive all calls; None without a libtiff."""
    try:  # Pillow's own: it is looked for in what Pillow is linked with
        install = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return None
    handler = _Handler(_hear)
    install.restype, install.argtypes = ctypes.c_void_p, [_Handler]
    install(handler)
    return handler


_written = ctypes.pythonapi.PyOS_vsnprintf  # the last argument is C's va_list
_written.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
_handler = _install()
