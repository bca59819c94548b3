"""The scripted model server, which is part of the package."""

from penstock.testing import *  # noqa: F403
