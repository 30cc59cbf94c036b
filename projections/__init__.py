"""Read models in Postgres, folded from the events of an app."""

from projections.handlers import projects
from projections.projection import Projection
from projections.read_model import ReadModel
from projections.rebuild import RebuildReport, rebuild
from projections.rows import Deleted, Rows

__all__ = ["Deleted", "Projection", "ReadModel", "RebuildReport", "Rows", "projects", "rebuild"]
