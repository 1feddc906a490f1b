"""Mercurial's web application, as its documentation sets it up."""

from mercurial.hgweb import hgweb

application = hgweb(b"@ROOT@/hg/hgweb.config")
