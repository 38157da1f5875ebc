"""What a file is that some version of ours wrote: read out of the file alone, without vault or profile."""

from nodebake.inspection.files import File
from nodebake.inspection.finding import Certificate, Finding
from nodebake.inspection.looking import inspect

__all__ = ["Certificate", "File", "Finding", "inspect"]
