"""A program whose last act is to delete its sandbox."""

from daytona import Daytona

Daytona().create().delete()
