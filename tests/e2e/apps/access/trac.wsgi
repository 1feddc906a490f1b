"""Trac, as its documentation sets it up."""

import os

os.environ["PYTHON_EGG_CACHE"] = "@ROOT@/run"
os.environ["TRAC_ENV"] = "@ROOT@/trac"

from trac.web.main import dispatch_request as application  # noqa: F401
