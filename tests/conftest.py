"""Shapes in signatures are checked while testing, and only then."""

from jaxtyping import install_import_hook

install_import_hook(["zoombench.baselines", "zoombench.datasets", "zoombench.harness.contract"], "beartype.beartype").install()
