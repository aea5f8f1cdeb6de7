"""Run trials: the contract, the sweep file, the ledger, Ray Tune and MLflow. Knows no method and no dataset by name."""
