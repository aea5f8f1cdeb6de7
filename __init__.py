"""zoombench: a benchmarking harness for vision networks that learn where to look.

One sweep file names methods, datasets, budgets and seeds; Ray Tune runs the trials, MLflow tracks them, and a
report says which method is better, by how much, how sure that is, and at what cost.
"""

__version__ = "0.1.0"
