"""The one function of Python's former module `imp` that the build of http-parser calls."""

import importlib.util


def load_source(name, path):
    """Imports a source file under a name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
