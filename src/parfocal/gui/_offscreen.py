"""OpenGL without a screen: what napari draws with, on machines that have none."""

from __future__ import annotations

import ctypes
import os
from importlib import import_module
from typing import Any

_kept: list[Any] = []  # a context lives as long as it is referred to


def offscreen_gl() -> bool:
    """Make an OpenGL context in memory current in this thread, before napari is imported; False: there is none.

    Qt's offscreen platform has no OpenGL, and napari asks its driver what it can as soon as a layer is added. With
    a context of Mesa's own (EGL, no surface) everything but Qt's showing of the canvas works, and
    `picture_of_canvas` reads what it would show.
    """
    if _kept:
        return True
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    os.environ.setdefault("EGL_PLATFORM", "surfaceless")
    try:
        egl: Any = import_module("OpenGL.EGL")
        display = egl.eglGetDisplay(egl.EGL_DEFAULT_DISPLAY)
        egl.eglInitialize(display, ctypes.c_long(), ctypes.c_long())
        wanted = [egl.EGL_SURFACE_TYPE, egl.EGL_PBUFFER_BIT, egl.EGL_RENDERABLE_TYPE, egl.EGL_OPENGL_BIT]
        wanted += [egl.EGL_DEPTH_SIZE, 24, egl.EGL_RED_SIZE, 8, egl.EGL_NONE]
        configurations, n_found = (egl.EGLConfig * 1)(), ctypes.c_long()
        egl.eglChooseConfig(display, (ctypes.c_int * len(wanted))(*wanted), configurations, 1, n_found)
        egl.eglBindAPI(egl.EGL_OPENGL_API)
        side = (ctypes.c_int * 5)(egl.EGL_WIDTH, 16, egl.EGL_HEIGHT, 16, egl.EGL_NONE)
        surface = egl.eglCreatePbufferSurface(display, configurations[0], side)
        context = egl.eglCreateContext(display, configurations[0], egl.EGL_NO_CONTEXT, None)
        if not egl.eglMakeCurrent(display, surface, surface, context):
            return False
        _kept.extend((display, surface, context))
        return bool(import_module("OpenGL.GL").glGetString(import_module("OpenGL.GL").GL_VERSION))
    except Exception:  # no EGL, no driver, another platform was chosen: PyOpenGL has a kind of its own for each
        return False


def picture_of_canvas(viewer: Any) -> Any:
    """Return what a viewer's canvas shows, uint8[y, x, 4], drawn into memory."""
    return viewer.window._qt_viewer.canvas._scene_canvas.render()  # noqa: SLF001


def picture_of_window(viewer: Any) -> Any:
    """Return a viewer's window as a QImage, its canvas drawn into memory: Qt's own picture lacks that."""
    from PySide6.QtCore import QPoint
    from PySide6.QtGui import QImage, QPainter

    window: Any = viewer.window._qt_window  # noqa: SLF001
    native: Any = viewer.window._qt_viewer.canvas.native  # noqa: SLF001
    size = (native.width(), native.height())
    # Without a context of its own Qt never tells the canvas how large it has become.
    native.resizeGL(*size)
    picture: QImage = window.grab().toImage()
    drawn = picture_of_canvas(viewer)
    height, width = drawn.shape[:2]
    canvas = QImage(drawn.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888)
    painter = QPainter(picture)
    painter.drawImage(native.mapTo(window, QPoint(0, 0)), canvas.convertToFormat(QImage.Format.Format_RGB32))
    painter.end()
    return picture
